//! Limits that are counted in a real Redis.
#![cfg(feature = "redis")]

use serde_json::Value;
use stanchion_gateway::{Config, Gateway};
use testkit::{Redis, RedisServer, Server};

use crate::setup::{Origin, Setup, admin, client, eventually, metric};
use crate::wire::Wire;

fn redis() -> Option<RedisServer> {
    Server::start(Redis::new())
}

/// A route whose limit is counted in this Redis.
fn counted(server: &RedisServer, limit: &str) -> Setup {
    let address = server.addr();
    let routes = format!(
        "[redis.main]\nservers = [\"redis://{address}\"]\n\
         [[route]]\nid = \"all\"\nupstream = \"main\"\n\
         limit = [{{ name = \"plan\", by = \"api-key\", store = \"main\", deadline = \"2s\", {limit} }}]\n"
    );
    Setup {
        routes,
        ..Setup::default()
    }
}

fn ask(gateway: &Gateway, times: usize, key: &str) -> Vec<u16> {
    let mut client = client(gateway);
    let field = format!("x-api-key: {key}");
    let statuses = (0..times).map(|_| client.get("/", &[&field]).status);
    statuses.collect()
}

fn look(gateway: &Gateway, target: &str) -> Value {
    let (status, body) = admin(gateway, target);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn two_gateways_draw_from_one_budget() {
    let Some(server) = redis() else { return };
    let origin = Origin::saying("hello");
    for algorithm in ["token-bucket", "fixed-window", "sliding-window-counter"] {
        let limit = format!("algorithm = \"{algorithm}\", rate = \"3/h\"");
        let setup = counted(&server, &limit);
        let gateways = [setup.start(&[origin.url()]), setup.start(&[origin.url()])];
        assert_eq!(ask(&gateways[0], 2, algorithm), [200, 200]);
        assert_eq!(ask(&gateways[1], 2, algorithm), [200, 429]);
        let refused = client(&gateways[0]).get("/", &[&format!("x-api-key: {algorithm}")]);
        assert_eq!(refused.status, 429);
        let told = refused.head.field("ratelimit-policy");
        assert_eq!(told, Some("\"plan\";q=3;w=3600"));
        assert!(refused.head.field("retry-after").is_some());
        for gateway in gateways {
            gateway.shutdown();
        }
    }
}

#[test]
fn while_redis_is_away_the_outage_policy_decides() {
    let origin = Origin::saying("hello");
    for (outage, expected) in [
        ("outage = \"open\"", [200, 200, 200]),
        ("outage = \"closed\"", [503, 503, 503]),
        // A third of 6, and what was taken before counts.
        ("outage = \"local\", instances = 3", [200, 429, 429]),
    ] {
        let Some(mut server) = redis() else { return };
        let gateway = counted(&server, &format!("rate = \"6/h\", {outage}")).start(&[origin.url()]);
        assert_eq!(ask(&gateway, 1, "k"), [200]);
        server.kill();
        assert_eq!(ask(&gateway, 3, "k"), expected, "{outage}");
        let series = "limit_fallbacks_total{route=\"all\",limit=\"plan\"}";
        assert!((metric(&gateway, series) - 3.0).abs() < f64::EPSILON);
        assert_eq!(look(&gateway, "/limits")["limits"][0]["fell_back"], 3);

        server.restart();
        eventually("Redis is asked again", || {
            look(&gateway, "/limits")["redis"][0]["connected"] == true
        });
        assert_eq!(ask(&gateway, 1, "after"), [200]);
        gateway.shutdown();
    }
}

#[test]
fn a_key_in_redis_is_inspected_and_reset() {
    let Some(server) = redis() else { return };
    let origin = Origin::saying("hello");
    let gateway = counted(&server, "rate = \"2/h\"").start(&[origin.url()]);
    assert_eq!(ask(&gateway, 3, "k"), [200, 200, 429]);
    let key = "route=all&limit=plan&key=k";
    let told = look(&gateway, &format!("/limits?{key}"));
    assert_eq!(told["standings"][0]["remaining"], 0);
    let mut wire = Wire::connect(gateway.admin_address());
    wire.ask(
        "POST",
        &format!("/limits/reset?{key}"),
        &["host: localhost"],
    );
    assert_eq!(wire.reply().status, 200);
    assert_eq!(ask(&gateway, 3, "k"), [200, 200, 429]);
    gateway.shutdown();
}

#[test]
fn a_reload_keeps_the_connection_to_a_redis_that_stays() {
    let Some(server) = redis() else { return };
    let origin = Origin::saying("hello");
    let gateway = counted(&server, "rate = \"2/h\"").start(&[origin.url()]);
    assert_eq!(ask(&gateway, 1, "k"), [200]);
    let next = counted(&server, "rate = \"2/h\", missing = \"pass\"");
    gateway.apply(next.config(&[origin.url()])).unwrap();
    assert_eq!(ask(&gateway, 2, "k"), [200, 429]);
    assert_eq!(look(&gateway, "/limits")["redis"][0]["connections"], 1);
    gateway.shutdown();
}

#[test]
fn permits_are_drawn_in_batches_where_asked_for() {
    let Some(server) = redis() else { return };
    let origin = Origin::saying("hello");
    let limit = "rate = \"10/h\", lease = 10, lease_ttl = \"1h\"";
    let gateway = counted(&server, limit).start(&[origin.url()]);
    assert_eq!(ask(&gateway, 10, "k"), [200; 10]);
    let asked = look(&gateway, "/limits")["redis"][0]["asked"].as_u64();
    assert!(asked.is_some_and(|asked| asked < 10), "{asked:?}");
    gateway.shutdown();
}

#[test]
fn what_redis_cannot_count_is_refused_before_the_start() {
    let read = |redis: &str, limit: &str| {
        let setup = Setup {
            routes: format!(
                "[redis.main]\n{redis}\n[[route]]\nid = \"all\"\nupstream = \"main\"\n\
                 limit = [{{ by = \"address\", store = \"main\", {limit} }}]\n"
            ),
            ..Setup::default()
        };
        Config::from_toml(&setup.text(&["http://127.0.0.1:9".to_owned()]))
    };
    let one = "servers = [\"redis://127.0.0.1:6379\"]";
    assert!(read(one, "rate = \"1/s\"").is_ok());
    for (redis, limit, said) in [
        (
            one,
            "rate = \"1/s\", algorithm = \"sliding-window-log\"",
            "policy is",
        ),
        (
            one,
            "rate = \"1/s\", algorithm = \"strict-window\"",
            "policy is",
        ),
        (
            one,
            "rate = \"1/s\", algorithm = \"leaky-bucket\"",
            "policy is",
        ),
        (one, "rate = \"1/s\", lease = 2", "batch is 2"),
        (one, "rate = \"1/s\", outage = \"local\"", "needs instances"),
        (one, "rate = \"1/s\", deadline = \"0s\"", "from 1ms to 10s"),
        (
            "servers = [\"http://anna:secret@a\"]",
            "rate = \"1/s\"",
            "must be like \"redis://",
        ),
        ("servers = []", "rate = \"1/s\"", "0 given, from 1 to 1"),
        (
            "servers = [\"redis://a\", \"redis://b\"]",
            "rate = \"1/s\"",
            "2 given, from 1 to 1",
        ),
    ] {
        let error = read(redis, limit).unwrap_err().to_string();
        assert!(error.contains(said), "{limit}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
