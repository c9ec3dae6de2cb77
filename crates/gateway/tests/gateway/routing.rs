use crate::setup::{Origin, Setup, before, client, start};

#[test]
fn requests_go_by_host_then_by_the_longest_prefix() {
    let origins =
        ["any", "api", "users", "tenants", "one"].map(|name| (name, Origin::saying(name)));
    let mut text = String::from(
        "workers = 1\naccess_log = \"off\"\n\
         listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n",
    );
    for (name, origin) in &origins {
        text += &format!("[upstream.{name}]\nendpoints = [{:?}]\n", origin.url());
    }
    for (name, matching) in [
        ("any", "path_prefix = \"/any\""),
        ("api", "host = \"api.test\""),
        ("users", "host = \"api.test\"\npath_prefix = \"/users\""),
        ("tenants", "host = \"*.tenants.test\""),
        ("one", "host = \"one.tenants.test\"\npath_prefix = \"/own\""),
    ] {
        text += &format!("[[route]]\nid = \"{name}\"\nupstream = \"{name}\"\n{matching}\n");
    }
    let gateway = start(&text);
    let mut client = client(&gateway);
    for (host, path, found) in [
        ("api.test", "/", "api"),
        ("API.test:8080", "/usersx?a=/users", "api"),
        ("api.test.", "/users", "users"),
        ("api.test", "/users/7?x=1", "users"),
        ("two.tenants.test", "/own", "tenants"),
        ("one.tenants.test", "/own/x", "one"),
        ("one.tenants.test", "/other", "tenants"),
        ("other.test", "/any/x", "any"),
        ("tenants.test", "/any", "any"),
    ] {
        let reply = client.get(path, &[&format!("host: {host}")]);
        assert_eq!((reply.status, reply.text()), (200, found), "{host}{path}");
    }
    let reply = client.get("/anyone", &["host: other.test"]);
    assert_eq!(reply.status, 404);
    reply.problem();
    gateway.shutdown();
}

#[test]
fn the_target_is_passed_on_as_it_was_matched() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for (target, passed) in [
        ("/a/b?x=%2F/..//&y=%zz", "/a/b?x=%2F/..//&y=%zz"),
        ("/?", "/?"),
        ("/x?a?b", "/x?a?b"),
        ("/a/../b//c?x", "/b/c?x"),
        ("/a/%2e%2E/%62?", "/b?"),
        ("http://a.test//x/.", "/x/"),
    ] {
        assert_eq!(client.get(target, &[]).status, 200, "{target}");
        let line = format!("GET {passed} HTTP/1.1");
        assert_eq!(origin.last_request().first, line, "{target}");
    }
    gateway.shutdown();
}

#[test]
fn no_spelling_of_a_path_goes_by_another_route() {
    let [open, closed] = ["open", "closed"].map(Origin::saying);
    let text = |listen: &str| {
        format!(
            "workers = 1\naccess_log = \"off\"\nadmin.address = \"127.0.0.1:0\"\n\
             [listen]\naddress = \"127.0.0.1:0\"\n{listen}\n\
             [upstream.open]\nendpoints = [{:?}]\n[upstream.closed]\nendpoints = [{:?}]\n\
             [[route]]\nid = \"open\"\nupstream = \"open\"\n\
             [[route]]\nid = \"closed\"\nupstream = \"closed\"\npath_prefix = \"/admin\"\n",
            open.url(),
            closed.url(),
        )
    };
    let gateway = start(&text(""));
    let mut client = client(&gateway);
    for target in [
        "/admin",
        "//admin",
        "/%61dmin/x",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/.%2E//./admin/",
        "http://a.test/./admin?x",
    ] {
        assert_eq!(client.get(target, &[]).text(), "closed", "{target}");
    }
    for target in [
        "/x%2f..%2fadmin",
        "/x%5c..%5cadmin",
        "/x/..;/admin",
        "/../admin",
        "/admin%00",
        "/%",
    ] {
        let reply = client.get(target, &[]);
        assert_eq!(reply.status, 400, "{target}");
        reply.problem();
    }
    gateway.shutdown();

    let gateway = start(&text("encoded_slash = \"pass\""));
    let mut client = crate::setup::client(&gateway);
    assert_eq!(client.get("/a%2fb", &[]).text(), "open");
    assert_eq!(open.last_request().first, "GET /a%2Fb HTTP/1.1");
    assert_eq!(client.get("/a%2f..%2fadmin", &[]).status, 400);
    gateway.shutdown();
}

#[test]
fn an_absolute_target_wins_over_the_host_field() {
    let origin = Origin::saying("hello");
    let routes = "[[route]]\nid = \"b\"\nhost = \"b.test\"\nupstream = \"main\"\n";
    let setup = Setup {
        routes: routes.to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let reply = client(&gateway).get("http://b.test:81/x?y", &["host: a.test"]);
    assert_eq!(reply.status, 200);
    let request = origin.last_request();
    assert_eq!(request.first, "GET /x?y HTTP/1.1");
    assert_eq!(request.field("host"), Some("b.test:81"));
    gateway.shutdown();
}

#[test]
fn what_is_not_passed_on_is_refused_before_a_route_is_looked_for() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    for (method, target, fields, status) in [
        ("GET", "/", &["host: a.test", "host: b.test"][..], 400),
        ("GET", "/", &["host: a/b@c"], 400),
        ("GET", "/", &["host:"], 400),
        ("GET", "http://u@/x", &["host: a.test"], 400),
        ("TRACE", "/", &[], 405),
        ("CONNECT", "a.test:443", &[], 405),
    ] {
        let mut client = client(&gateway);
        client.ask(method, target, fields);
        let reply = client.reply();
        assert_eq!(reply.status, status, "{method} {target} {fields:?}");
    }
    let mut bare = client(&gateway);
    bare.write("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(bare.reply().status, 400);
    assert!(origin.requests().is_empty());
    gateway.shutdown();
}
