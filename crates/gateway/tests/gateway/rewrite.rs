//! What a route changes in paths and fields.

use crate::http2::{Client, get, run};
use crate::setup::{Origin, Setup, Then, client};

fn setup(route: &str) -> Setup {
    Setup {
        routes: format!("[[route]]\nid = \"api\"\nupstream = \"main\"\n{route}\n"),
        ..Setup::default()
    }
}

#[test]
fn the_server_is_not_sent_the_prefix() {
    let origin = Origin::saying("hello");
    let whole = setup("path_prefix = \"/api/v1\"\nstrip_prefix = true");
    let part = setup("path_prefix = \"/api/v1\"\nstrip_prefix = \"/api/\"");
    let none = setup("path_prefix = \"/api/v1\"\nstrip_prefix = false");
    for (setup, asked, sent) in [
        (&whole, "/api/v1", "/"),
        (&whole, "/api/v1/", "/"),
        (&whole, "/api/v1?a=/api/v1", "/?a=/api/v1"),
        (&whole, "/api/v1/users/7?a", "/users/7?a"),
        // In the form in which the path was matched.
        (&whole, "/x/../%61pi//v1/./users", "/users"),
        (&whole, "/api/v1//b.test/x", "/b.test/x"),
        (&whole, "http://a.test/api/v1/x", "/x"),
        (&part, "/api/v1/users", "/v1/users"),
        (&none, "/api/v1/users", "/api/v1/users"),
    ] {
        let gateway = setup.start(&[origin.url()]);
        assert_eq!(client(&gateway).get(asked, &[]).status, 200, "{asked}");
        let first = format!("GET {sent} HTTP/1.1");
        assert_eq!(origin.last_request().first, first, "{asked}");
        gateway.shutdown();
    }
}

#[test]
fn fields_of_requests_are_removed_set_and_added() {
    let origin = Origin::saying("hello");
    let setup = setup(
        "[route.request_headers]\n\
         remove = [\"cookie\", \"X-Forwarded-Host\", \"x-absent\"]\n\
         set = { x-tenant = \"a\", X-Forwarded-Proto = \"https\" }\n\
         add = { x-many = \"3\" }",
    );
    let gateway = setup.start(&[origin.url()]);
    let given = ["cookie: a=1", "x-tenant: b", "x-tenant: c"];
    let given = [&given[..], &["x-many: 1", "x-many: 2", "x-kept: 1"]].concat();
    assert_eq!(client(&gateway).get("/", &given).status, 200);
    let over_h2 = run(async {
        let mut request = get("/");
        let fields = request.headers_mut();
        for (name, value) in [("x-tenant", "b"), ("x-many", "1"), ("x-many", "2")] {
            fields.append(name, value.parse().unwrap());
        }
        let mut client = Client::connect(gateway.address()).await;
        client.ask(request, None).await
    });
    assert_eq!(over_h2.status(), 200);
    for request in origin.requests() {
        assert_eq!(request.field("cookie"), None);
        assert_eq!(request.field("x-forwarded-host"), None);
        assert_eq!(request.field("x-forwarded-proto"), Some("https"));
        assert_eq!(request.field("x-tenant"), Some("a"));
        assert_eq!(request.all("x-many"), ["1", "2", "3"]);
        assert!(request.field("host").is_some());
    }
    assert_eq!(origin.requests()[0].field("x-kept"), Some("1"));
    gateway.shutdown();
}

#[test]
fn fields_of_responses_are_changed_those_of_the_gateways_own_answers_too() {
    let origin = Origin::start(|_, wire| {
        wire.write(
            "HTTP/1.1 200 OK\r\nserver: secret/1.0\r\nset-cookie: a=1\r\ncontent-length: 2\r\n\r\nok",
        );
        Then::Keep
    });
    let setup = setup(
        "limit = [{ by = \"address\", rate = \"1/h\" }]\n\
         response_headers.remove = [\"Server\"]\n\
         response_headers.set.strict-transport-security = \"max-age=31536000\"\n\
         response_headers.add.set-cookie = \"b=2\"",
    );
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    for (status, cookies) in [(200, &["a=1", "b=2"][..]), (429, &["b=2"])] {
        let reply = client.get("/", &[]);
        assert_eq!(reply.status, status);
        let head = reply.head;
        assert_eq!(head.field("server"), None);
        let transport = head.field("strict-transport-security");
        assert_eq!(transport, Some("max-age=31536000"));
        assert_eq!(head.all("set-cookie"), cookies);
        assert_eq!(head.field("x-request-id").unwrap().len(), 32);
    }
    gateway.shutdown();
}
