//! Requests that go to the owner of their key, or where their session has been before.

use std::collections::{BTreeMap, BTreeSet};

use stanchion_gateway::{Config, Gateway};

use crate::balance::{by, set, with};
use crate::setup::{Origin, Setup, Then, admin, client, eventually, ok, start};
use crate::wire::{Head, Wire};

fn three() -> [Origin; 3] {
    ["0", "1", "2"].map(Origin::saying)
}

fn urls(origins: &[Origin]) -> Vec<String> {
    origins.iter().map(Origin::url).collect()
}

/// Who answers.
fn asked(client: &mut Wire, target: &str, fields: &[&str]) -> String {
    let reply = client.get(target, fields);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().to_owned()
}

#[test]
fn requests_of_one_key_meet_at_one_server() {
    for (policy, hash) in [
        ("ring", ", bound = 1.5"),
        ("ring", ""),
        ("maglev", ", table_size = 251"),
        ("rendezvous", ""),
    ] {
        let origins = three();
        let upstream = format!("policy = {policy:?}\nhash = {{ by = \"header:x-tenant\"{hash} }}");
        let gateway = by(upstream.leak()).start(&urls(&origins));
        let mut client = client(&gateway);
        let mut owners = || -> BTreeMap<usize, String> {
            let mut owner = |key| {
                let field = format!("x-tenant: {key}");
                asked(&mut client, "/", &[&*field])
            };
            (0..60).map(|key| (key, owner(key))).collect()
        };
        let before = owners();
        let all: BTreeSet<&String> = before.values().collect();
        assert_eq!(all.len(), 3, "{policy}: {before:?}");
        assert_eq!(owners(), before, "{policy}");

        // Who cannot serve loses its keys, and gets them back; no other key moves, but a few of
        // Maglev's.
        set(&gateway, &origins[0], "disabled");
        let meanwhile = owners();
        assert!(meanwhile.values().all(|owner| owner != "0"), "{policy}");
        let kept = |key: &&usize| before[key] != "0" && before[key] == meanwhile[key];
        let of_others = before.values().filter(|owner| *owner != "0").count();
        let kept = before.keys().filter(kept).count();
        assert!(
            kept + if policy == "maglev" { 3 } else { 0 } >= of_others,
            "{policy}"
        );
        set(&gateway, &origins[0], "enabled");
        assert_eq!(owners(), before, "{policy}");
        gateway.shutdown();
    }
}

#[test]
fn a_key_stands_where_it_is_said_to() {
    let origins = three();
    for (by_what, place) in [
        (
            "cookie:id",
            (|key| ("/".to_owned(), format!("cookie: a=1; id={key}"))) as fn(usize) -> _,
        ),
        ("query:id", |key| {
            (format!("/?a=1&id={key}"), "x-a: 1".to_owned())
        }),
        ("path", |key| (format!("/items/{key}"), "x-a: 1".to_owned())),
    ] {
        let upstream = format!("policy = \"ring\"\nhash = {{ by = {by_what:?} }}");
        let mut setup = by(upstream.leak());
        // What the server is not sent counts all the same.
        setup.routes = "[[route]]\nid = \"all\"\nupstream = \"main\"\n\
                        request_headers = { remove = [\"cookie\"] }\n"
            .to_owned();
        let gateway = setup.start(&urls(&origins));
        let mut client = client(&gateway);
        let mut owners = || -> Vec<String> {
            let mut owner = |key| {
                let (target, field) = place(key);
                asked(&mut client, &target, &[&*field])
            };
            (0..20).map(&mut owner).collect()
        };
        let before = owners();
        assert!(before.iter().any(|owner| *owner != before[0]), "{by_what}");
        assert_eq!(owners(), before, "{by_what}");
        gateway.shutdown();
    }
}

#[test]
fn clients_of_one_network_meet_whichever_trusted_proxy_they_come_by() {
    let origins = three();
    let setup = Setup {
        listen: "trusted = [\"127.0.0.0/8\"]",
        ..by("policy = \"maglev\"")
    };
    let gateway = setup.start(&urls(&origins));
    let mut client = client(&gateway);
    let mut owner = |address: String| {
        let field = format!("x-forwarded-for: {address}, 127.0.0.9");
        asked(&mut client, "/", &[&*field])
    };
    let networks: Vec<String> = (0..20).map(|net| owner(format!("192.0.{net}.1"))).collect();
    assert!(networks.iter().any(|owner| *owner != networks[0]));
    for (net, first) in networks.iter().enumerate() {
        assert_eq!(owner(format!("192.0.{net}.200")), *first);
    }
    gateway.shutdown();

    // Nobody else is believed.
    let gateway = by("policy = \"maglev\"").start(&urls(&origins));
    let mut client = crate::setup::client(&gateway);
    let mut owner = |net: usize| {
        let field = format!("x-forwarded-for: 192.0.{net}.1");
        asked(&mut client, "/", &[&*field])
    };
    let owners: BTreeSet<String> = (0..20).map(&mut owner).collect();
    assert_eq!(owners.len(), 1);
    gateway.shutdown();
}

/// The pair of the cookie that an answer sets, and its attributes.
fn cookie(head: &Head) -> Option<(&str, &str)> {
    head.field("set-cookie")?.split_once("; ")
}

fn sticky(secret: &std::path::Path, more: &str) -> Setup {
    let file = format!("file:{}", secret.display());
    by(format!("affinity = {{ cookie = \"lb\", secret = {file:?}{more} }}").leak())
}

const SECRET: &str = "a secret of 32 bytes, or of more\n";

#[test]
fn a_session_stays_at_its_server_over_restarts_and_while_that_drains() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let origins = three();
    let gateway =
        sticky(&secret, ", max_age = \"24h\", same_site = \"strict\"").start(&urls(&origins));
    let first = client(&gateway).get("/", &[]);
    let (pair, attributes) = cookie(&first.head).unwrap();
    assert_eq!(
        attributes,
        "Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Strict"
    );
    assert!(!pair.contains("127"), "a client need not know: {pair}");
    let field = format!("cookie: {pair}");
    let mine = first.text();
    let place: usize = mine.parse().unwrap();
    let stays = |gateway: &Gateway| {
        let mut client = client(gateway);
        for _ in 0..6 {
            let reply = client.get("/", &[&*field]);
            assert_eq!((reply.text(), cookie(&reply.head)), (mine, None));
        }
    };
    stays(&gateway);
    set(&gateway, &origins[place], "draining");
    stays(&gateway);
    gateway.shutdown();
    let gateway = sticky(&secret, ", max_age = \"24h\"").start(&urls(&origins));
    stays(&gateway);

    // Another one takes the session over for good.
    set(&gateway, &origins[place], "disabled");
    let mut client = client(&gateway);
    let moved = client.get("/", &[&*field]);
    assert_ne!(moved.text(), mine);
    let (pair, _) = cookie(&moved.head).unwrap();
    set(&gateway, &origins[place], "enabled");
    for _ in 0..6 {
        let again = client.get("/", &[&*format!("cookie: {pair}")]);
        assert_eq!((again.text(), cookie(&again.head)), (moved.text(), None));
    }
    // Forged ones are as good as none, and what the gateway answers itself binds nobody.
    for forged in ["lb=127.0.0.1:1", "lb=", "lb=AAAA"] {
        let reply = client.get("/", &[&*format!("cookie: {forged}")]);
        assert!(
            reply.status == 200 && cookie(&reply.head).is_some(),
            "{forged}"
        );
    }
    for origin in &origins {
        set(&gateway, origin, "disabled");
    }
    let refused = client.get("/", &[]);
    assert_eq!((refused.status, cookie(&refused.head)), (503, None));
    gateway.shutdown();
}

#[test]
fn a_secret_is_changed_by_a_reload_that_knows_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new, short] = ["old", "new", "short"].map(|name| folder.path().join(name));
    std::fs::write(&old, SECRET).unwrap();
    std::fs::write(&new, "another secret, of 32 bytes and more").unwrap();
    std::fs::write(&short, "123\n").unwrap();
    let origins = three();
    let gateway = sticky(&old, "").start(&urls(&origins));
    let mut client = client(&gateway);
    let first = client.get("/", &[]);
    let field = format!("cookie: {}", cookie(&first.head).unwrap().0);
    for (secret, said) in [
        (&short, "secret is 3 bytes long".to_owned()),
        (&folder.path().join("none"), "cannot be read".to_owned()),
    ] {
        let config = sticky(secret, "").config(&urls(&origins));
        let error = gateway.apply(config).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(&said), "{cause}");
    }
    // Refused, it changed nothing.
    let reply = client.get("/", &[&*field]);
    assert_eq!((reply.text(), cookie(&reply.head)), (first.text(), None));
    let more = format!(", old_secrets = [\"file:{}\"]", old.display());
    gateway
        .apply(sticky(&new, &more).config(&urls(&origins)))
        .unwrap();
    let reply = client.get("/", &[&*field]);
    assert_eq!(reply.text(), first.text());
    // By the new one from now on.
    let field = format!("cookie: {}", cookie(&reply.head).unwrap().0);
    gateway
        .apply(sticky(&new, "").config(&urls(&origins)))
        .unwrap();
    let reply = client.get("/", &[&*field]);
    assert_eq!((reply.text(), cookie(&reply.head)), (first.text(), None));
    gateway.shutdown();
}

/// Two variables that cargo sets for a test: one is long enough.
#[test]
fn a_secret_may_stand_in_the_environment() {
    let origins = three();
    let from = |name: &str| {
        by(format!("affinity = {{ cookie = \"lb\", secret = \"env:{name}\" }}").leak())
            .config(&urls(&origins))
    };
    let gateway = Gateway::start(from("CARGO_PKG_DESCRIPTION")).unwrap();
    assert!(cookie(&client(&gateway).get("/", &[]).head).is_some());
    let (_, shown) = admin(&gateway, "/config");
    assert!(shown.contains("env:CARGO_PKG_DESCRIPTION"), "{shown}");
    gateway.shutdown();
    for (name, said) in [
        ("CARGO_PKG_NAME", "must be 32 bytes or more"),
        ("NO_SUCH_VARIABLE_AT_ALL", "cannot be read: it is not set"),
    ] {
        let error = Gateway::start(from(name)).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(said), "{cause}");
    }
}

#[test]
fn a_client_that_is_told_its_server_may_ask_for_it() {
    let origins = three();
    let gateway = by("affinity = { header = \"X-Server\" }").start(&urls(&origins));
    let mut client = client(&gateway);
    for _ in 0..2 {
        let first = client.get("/", &[]);
        let server = first.head.field("x-server").unwrap();
        let field = format!("x-server: {server}");
        for _ in 0..4 {
            let again = client.get("/", &[&*field]);
            assert_eq!(again.text(), first.text());
            assert_eq!(again.head.field("x-server"), Some(server));
        }
    }
    let unknown = client.get("/", &["x-server: nobody"]);
    assert_eq!(unknown.status, 200);
    gateway.shutdown();
}

/// Its server cannot be reached, and nothing was sent: the session goes on elsewhere.
#[test]
fn who_is_bound_to_a_server_that_is_gone_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let first = Origin::start(|_, wire| {
        wire.write(ok("0"));
        Then::Close
    });
    let second = Origin::saying("1");
    let setup = sticky(&secret, "");
    let gateway = start(&with(
        &setup,
        &[(&first, "weight = 1"), (&second, "priority = 1")],
    ));
    let mut client = client(&gateway);
    let reply = client.get("/", &[]);
    assert_eq!(reply.text(), "0");
    let field = format!("cookie: {}", cookie(&reply.head).unwrap().0);
    drop(first);
    eventually("the other one takes over", || {
        let reply = client.get("/", &[&*field]);
        reply.status == 200 && reply.text() == "1" && cookie(&reply.head).is_some()
    });
    gateway.shutdown();
}

#[test]
fn servers_that_no_table_can_be_made_of_are_told_with_their_place() {
    let text = by("policy = \"ring\"").text(&["http://a".to_owned()]);
    let text = text.replace("[\"http://a\"]", "[{ url = \"http://a\", weight = 65535 }]");
    let error = Config::from_toml(&text).unwrap_err();
    let mistake = &error.mistakes()[0];
    assert_eq!(mistake.field(), "upstream.main.endpoints", "{error}");
}

#[test]
fn what_is_no_key_and_no_session_is_told_with_its_place() {
    for (upstream, field, said) in [
        (
            "hash = { by = \"address\" }",
            "hash",
            "given beside a policy that goes by no hash",
        ),
        (
            "policy = \"ring\"\nhash = { by = \"ip\" }",
            "hash.by",
            "\"ip\" given, expected \"address\", \"path\", or",
        ),
        (
            "policy = \"ring\"\nhash = { v4_prefix = 33 }",
            "hash.v4_prefix",
            "33 given, from 1 to 32 is allowed",
        ),
        (
            "policy = \"ring\"\nhash = { bound = 1.0 }",
            "hash.bound",
            "must be more than 1 and at most 1000",
        ),
        (
            "policy = \"ring\"\nhash = { table_size = 251 }",
            "hash.table_size",
            "given beside a policy without such a table",
        ),
        (
            "policy = \"maglev\"\nhash = { table_size = 250 }",
            "hash.table_size",
            "must be a prime",
        ),
        (
            "affinity = { cookie = \"lb\" }",
            "affinity",
            "a cookie needs a secret",
        ),
        (
            "affinity = { cookie = \"a b\", secret = \"env:A\" }",
            "affinity.cookie",
            "\"a b\" given, expected 1 to 128",
        ),
        (
            "affinity = { cookie = \"lb\", secret = \"s3cret\" }",
            "affinity.secret",
            "expected \"file:\" and a path",
        ),
        (
            "affinity = { cookie = \"lb\", secret = \"env:A\", max_age = \"401h\", path = \"x\" }",
            "affinity.path",
            "\"x\" given, expected a path",
        ),
        (
            "affinity = { cookie = \"lb\", secret = \"env:A\", max_age = \"9601h\" }",
            "affinity.max_age",
            "is allowed",
        ),
        (
            "affinity = { header = \"x-a\", secure = false }",
            "affinity.secure",
            "given without a cookie",
        ),
        (
            "affinity = {}",
            "affinity",
            "expected either a cookie or a header",
        ),
    ] {
        let setup = Setup::default().text(&["http://a".to_owned()]);
        let text = setup.replace(
            "[upstream.main]\n",
            &format!("[upstream.main]\n{upstream}\n"),
        );
        let error = Config::from_toml(&text).unwrap_err();
        let mistake = &error.mistakes()[0];
        assert_eq!(mistake.field(), format!("upstream.main.{field}"), "{error}");
        let line = upstream.lines().last().unwrap();
        assert_eq!(text.lines().nth(mistake.line() - 1), Some(line), "{error}");
        assert!(mistake.message().contains(said), "{error}");
    }
}
