//! Several limits of one route: a request is counted by all of them, or by none.

use serde_json::Value;
use stanchion_gateway::Gateway;

use crate::setup::{Origin, Setup, admin, client, eventually, metric};
use crate::wire::Reply;

/// A route with these limits, behind tables that they may name.
fn limited(origin: &Origin, tables: &str, limits: &str) -> Gateway {
    let setup = Setup {
        routes: format!(
            "{tables}[[route]]\nid = \"all\"\nupstream = \"main\"\nlimit = [{limits}]\n"
        ),
        ..Setup::default()
    };
    setup.start(&[origin.url()])
}

fn get(gateway: &Gateway, key: &str) -> Reply {
    client(gateway).get("/", &[&format!("x-api-key: {key}")])
}

fn ask(gateway: &Gateway, times: usize, key: &str) -> Vec<u16> {
    (0..times).map(|_| get(gateway, key).status).collect()
}

/// What is left of a limit for a key.
fn left(gateway: &Gateway, limit: &str, key: &str) -> u64 {
    let query = format!("/limits?route=all&limit={limit}&key={key}");
    let (status, body) = admin(gateway, &query);
    assert_eq!(status, 200, "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    told["standings"][0]["remaining"].as_u64().unwrap()
}

fn refused(gateway: &Gateway, limit: &str) -> f64 {
    let series = format!("requests_refused_total{{route=\"all\",limit=\"{limit}\"}}");
    metric(gateway, &series)
}

const HERE: &str = "127.0.0.1";

#[test]
fn what_one_limit_refuses_no_other_has_counted() {
    let origin = Origin::saying("hello");
    let limits = "{ by = \"address\", rate = \"5/h\" }, { by = \"api-key\", rate = \"2/h\" }";
    let gateway = limited(&origin, "", limits);
    assert_eq!(ask(&gateway, 5, "a"), [200, 200, 429, 429, 429]);
    assert_eq!(left(&gateway, "address", HERE), 3);
    assert_eq!(ask(&gateway, 2, "b"), [200, 200]);
    assert_eq!(left(&gateway, "address", HERE), 1);
    assert_eq!(ask(&gateway, 2, "c"), [200, 429]);
    assert_eq!(left(&gateway, "api-key", "c"), 1);
    assert!((refused(&gateway, "address") - 1.0).abs() < f64::EPSILON);
    assert!((refused(&gateway, "api-key") - 3.0).abs() < f64::EPSILON);
    gateway.shutdown();
}

#[test]
fn a_refusal_tells_of_the_longest_wait_and_of_all_policies() {
    let origin = Origin::saying("hello");
    let limits = "{ name = \"minute\", by = \"api-key\", rate = \"1/m\" }, \
                  { name = \"hour\", by = \"api-key\", algorithm = \"fixed-window\", rate = \"9/h\" }, \
                  { name = \"day\", by = \"address\", rate = \"1/d\" }";
    let gateway = limited(&origin, "", limits);
    let admitted = get(&gateway, "a");
    let told = [
        "\"minute\";q=1;w=60",
        "\"hour\";q=9;w=3600",
        "\"day\";q=1;w=86400",
    ];
    assert_eq!(admitted.head.all("ratelimit-policy"), told);
    assert_eq!(admitted.head.all("ratelimit").len(), 3);

    // Two refuse.
    let refusal = get(&gateway, "a");
    assert_eq!(refusal.status, 429);
    let left = refusal.head.field("ratelimit").unwrap();
    assert!(left.starts_with("\"day\";r=0;t="), "{left}");
    let after: u64 = refusal.head.field("retry-after").unwrap().parse().unwrap();
    assert!(after > 80_000, "{after}");
    let mut policies = refusal.head.all("ratelimit-policy");
    policies.sort_unstable();
    let mut told = told;
    told.sort_unstable();
    assert_eq!(policies, told);
    assert!((refused(&gateway, "day") - 1.0).abs() < f64::EPSILON);
    gateway.shutdown();
}

/// All limits are looked at before any is taken from. A key that no table knows has everything left at
/// that look; where the table is full it shares the state of all such keys, and is refused by that.
#[test]
fn who_finds_no_place_in_one_limit_has_used_no_other() {
    let origin = Origin::saying("hello");
    let limits = "{ by = \"address\", rate = \"100/d\" }, \
                  { by = \"api-key\", rate = \"1/d\", keys_max = 1 }";
    let gateway = limited(&origin, "", limits);
    let statuses: Vec<u16> = (0..30)
        .map(|key| get(&gateway, &key.to_string()).status)
        .collect();
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    // The smallest table has eight places, and one more state for all others.
    assert!((1..=9).contains(&admitted), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(left(&gateway, "address", HERE), 100 - admitted as u64);
    gateway.shutdown();
}

/// Where requests race between the look and the take, no sum is wrong.
#[test]
fn sums_are_exact_where_requests_come_at_once() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        top: "workers = 4\naccess_log = \"off\"",
        routes: "[[route]]\nid = \"all\"\nupstream = \"main\"\nlimit = [\
                 { by = \"address\", rate = \"1000/d\" }, { by = \"api-key\", rate = \"40/d\" }]\n"
            .to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let admitted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ask(&gateway, 10, "a")))
            .collect();
        let statuses = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        statuses.filter(|status| *status == 200).count()
    });
    assert_eq!(admitted, 40);
    assert_eq!(left(&gateway, "address", HERE), 1_000 - 40);
    gateway.shutdown();
}

/// Slots are waited for last, so that nobody waits whom another limit refuses; and who leaves while he
/// waits has used nothing.
#[test]
fn who_leaves_while_he_waits_for_a_slot_has_used_no_other_limit() {
    let origin = Origin::saying("hello");
    let limits = "{ name = \"slots\", by = \"address\", algorithm = \"leaky-bucket\", \
                    rate = \"10/h\", queue = 3, wait_max = \"10m\" }, \
                  { name = \"plan\", by = \"api-key\", rate = \"2/h\" }";
    let gateway = limited(&origin, "", limits);
    assert_eq!(ask(&gateway, 1, "a"), [200]);
    let mut waiting = client(&gateway);
    waiting.ask("GET", "/", &["x-api-key: a"]);
    eventually("it waits", || left(&gateway, "plan", "a") == 0);
    // Refused at once, by the limit that lets nobody wait.
    assert_eq!(get(&gateway, "a").status, 429);
    waiting.reset();
    drop(waiting);
    eventually("what it held is given back", || {
        left(&gateway, "plan", "a") == 1
    });
    gateway.shutdown();

    // And who finds no slot.
    let gateway = limited(&origin, "", &limits.replace("queue = 3", "queue = 0"));
    assert_eq!(ask(&gateway, 3, "a"), [200, 429, 429]);
    assert_eq!(left(&gateway, "plan", "a"), 1);
    gateway.shutdown();
}

#[cfg(feature = "redis")]
mod on_redis {
    use testkit::{Redis, RedisServer, Server};

    use super::*;
    use crate::wire::Wire;

    fn redis() -> Option<RedisServer> {
        Server::start(Redis::new())
    }

    fn table(name: &str, server: &RedisServer) -> String {
        let address = server.addr();
        format!("[redis.{name}]\nservers = [\"redis://{address}\"]\n")
    }

    /// Commands that the stores were sent.
    fn asked(gateway: &Gateway) -> u64 {
        let (_, body) = admin(gateway, "/limits");
        let told: Value = serde_json::from_str(&body).unwrap();
        let stores = told["redis"].as_array().unwrap().iter();
        stores.map(|store| store["asked"].as_u64().unwrap()).sum()
    }

    const STORE: &str = "store = \"main\", deadline = \"5s\", outage = \"closed\"";

    #[test]
    fn limits_on_one_redis_are_one_question_and_taken_from_all_or_none() {
        let Some(server) = redis() else { return };
        let origin = Origin::saying("hello");
        let limits = format!(
            "{{ name = \"minute\", by = \"api-key\", rate = \"2/h\", {STORE} }}, \
             {{ name = \"day\", by = \"api-key\", algorithm = \"fixed-window\", \
                rate = \"9/d\", {STORE} }}"
        );
        let gateway = limited(&origin, &table("main", &server), &limits);
        let admitted = get(&gateway, "a");
        assert_eq!(admitted.status, 200);
        assert_eq!(admitted.head.all("ratelimit-policy").len(), 2);
        assert_eq!(admitted.head.all("ratelimit").len(), 2);
        assert_eq!(asked(&gateway), 1);
        assert_eq!(ask(&gateway, 3, "a"), [200, 429, 429]);
        assert_eq!(asked(&gateway), 4);
        let refusal = get(&gateway, "a");
        let told = refusal.head.field("ratelimit").unwrap();
        assert!(told.starts_with("\"minute\";r=0;t="), "{told}");
        assert_eq!(refusal.head.all("ratelimit-policy").len(), 2);
        assert!((refused(&gateway, "minute") - 3.0).abs() < f64::EPSILON);
        assert_eq!(left(&gateway, "day", "a"), 7);

        // One of them begins anew, and the other does not.
        let mut wire = Wire::connect(gateway.admin_address());
        let target = "/limits/reset?route=all&limit=minute&key=a";
        wire.ask("POST", target, &["host: localhost"]);
        assert_eq!(wire.reply().status, 200);
        let stand = |limit| left(&gateway, limit, "a");
        assert_eq!((stand("minute"), stand("day")), (2, 7));
        gateway.shutdown();
    }

    #[test]
    fn what_a_redis_refuses_is_given_back_here_and_by_another_redis() {
        let (Some(main), Some(other)) = (redis(), redis()) else {
            return;
        };
        let origin = Origin::saying("hello");
        let tables = table("main", &main) + &table("other", &other);
        let on_other = STORE.replace("main", "other");
        let limits = format!(
            "{{ name = \"here\", by = \"address\", rate = \"100/h\" }}, \
             {{ name = \"wide\", by = \"address\", rate = \"50/h\", {STORE} }}, \
             {{ name = \"plan\", by = \"api-key\", rate = \"2/h\", {on_other} }}"
        );
        let gateway = limited(&origin, &tables, &limits);
        assert_eq!(ask(&gateway, 6, "a"), [200, 200, 429, 429, 429, 429]);
        let refusal = get(&gateway, "a");
        let told = refusal.head.field("ratelimit").unwrap();
        assert!(told.starts_with("\"plan\";r=0;t="), "{told}");
        assert_eq!(left(&gateway, "here", HERE), 98);
        eventually("the other store has it back", || {
            left(&gateway, "wide", HERE) == 48
        });
        gateway.shutdown();
    }

    #[test]
    fn what_is_refused_here_asks_no_redis() {
        let Some(server) = redis() else { return };
        let origin = Origin::saying("hello");
        let limits = format!(
            "{{ name = \"wide\", by = \"address\", rate = \"50/h\", {STORE} }}, \
             {{ name = \"here\", by = \"api-key\", rate = \"1/h\" }}"
        );
        let gateway = limited(&origin, &table("main", &server), &limits);
        assert_eq!(ask(&gateway, 4, "a"), [200, 429, 429, 429]);
        assert_eq!(asked(&gateway), 1);
        gateway.shutdown();
    }

    /// The store that nobody could ask is told, and what others counted is given back.
    #[test]
    fn a_store_that_is_away_makes_the_others_give_back() {
        let origin = Origin::saying("hello");
        let tables = "[redis.main]\nservers = [\"redis://127.0.0.1:1\"]\n";
        let limits = format!(
            "{{ name = \"here\", by = \"address\", rate = \"9/h\" }}, \
             {{ name = \"wide\", by = \"address\", rate = \"50/h\", {STORE} }}"
        );
        let gateway = limited(&origin, tables, &limits);
        assert_eq!(ask(&gateway, 3, "a"), [503, 503, 503]);
        assert_eq!(left(&gateway, "here", HERE), 9);
        gateway.shutdown();
    }
}
