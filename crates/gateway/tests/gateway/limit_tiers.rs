//! Algorithms, tiers of clients, and limits as operators see them.

use serde_json::Value;
use sha2::{Digest, Sha256};
use stanchion_gateway::{Config, Gateway};

use crate::setup::{Origin, Setup, admin, client, metric};
use crate::wire::Wire;

/// The statuses of some requests with this field.
fn ask(gateway: &Gateway, times: usize, field: &str) -> Vec<u16> {
    let mut client = client(gateway);
    let statuses = (0..times).map(|_| client.get("/", &[field]).status);
    statuses.collect()
}

fn hash(key: &str) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(key) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A route with these limits, and two tiers of one key each: `g` is gold, `s` silver.
fn tiered(limits: &str) -> Setup {
    let (gold, silver) = (hash("g"), hash("s"));
    let routes = format!(
        "[tier.gold]\napi_keys = [\"{gold}\"]\n[tier.silver]\napi_keys = [\"{silver}\"]\n\
         [[route]]\nid = \"all\"\nupstream = \"main\"\nlimit = [{limits}]\n"
    );
    Setup {
        routes,
        ..Setup::default()
    }
}

fn post(gateway: &Gateway, target: &str) -> (u16, Value) {
    let mut wire = Wire::connect(gateway.admin_address());
    wire.ask("POST", target, &["host: localhost"]);
    let reply = wire.reply();
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

fn look(gateway: &Gateway, target: &str) -> Value {
    let (status, body) = admin(gateway, target);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn every_algorithm_limits() {
    let origin = Origin::saying("hello");
    for (algorithm, policy) in [
        ("token-bucket", "q=2;w=3600"),
        ("fixed-window", "q=2;w=3600"),
        ("sliding-window-counter", "q=2;w=3600"),
        ("sliding-window-log", "q=2;w=3600"),
        ("strict-window", "q=2;w=3600"),
    ] {
        let limit = format!("{{ by = \"api-key\", algorithm = \"{algorithm}\", rate = \"2/h\" }}");
        let gateway = tiered(&limit).start(&[origin.url()]);
        let statuses = ask(&gateway, 3, "x-api-key: k");
        assert_eq!(statuses, [200, 200, 429], "{algorithm}");
        let refused = client(&gateway).get("/", &["x-api-key: k"]);
        let told = refused.head.field("ratelimit-policy").unwrap();
        assert_eq!(told, format!("\"api-key\";{policy}"), "{algorithm}");
        assert!(refused.head.field("retry-after").is_some(), "{algorithm}");
        assert_eq!(ask(&gateway, 1, "x-api-key: other"), [200], "{algorithm}");
        gateway.shutdown();
    }
}

#[test]
fn a_leaky_bucket_has_requests_wait_for_their_slot_up_to_its_queue() {
    let origin = Origin::saying("hello");
    let limit =
        |queue: &str| format!("{{ by = \"api-key\", algorithm = \"leaky-bucket\", {queue} }}");
    // One every 50 ms: without waiting all but the first would be refused.
    let gateway = tiered(&limit("rate = \"20/s\", queue = 5")).start(&[origin.url()]);
    assert_eq!(ask(&gateway, 4, "x-api-key: k"), [200; 4]);
    gateway.shutdown();
    for refuses in [
        "rate = \"1/h\", queue = 0",
        "rate = \"1/h\", queue = 5, wait_max = \"1s\"",
    ] {
        let gateway = tiered(&limit(refuses)).start(&[origin.url()]);
        assert_eq!(ask(&gateway, 2, "x-api-key: k"), [200, 429], "{refuses}");
        gateway.shutdown();
    }
}

#[test]
fn a_client_of_a_tier_has_the_tiers_rate_and_others_the_common_one() {
    let origin = Origin::saying("hello");
    let limit = "{ name = \"plan\", by = \"api-key\", rate = \"1/h\", \
                 tiers = { gold = \"3/h\", silver = \"4/h burst 2\" } }";
    let gateway = tiered(limit).start(&[origin.url()]);
    assert_eq!(ask(&gateway, 4, "x-api-key: g"), [200, 200, 200, 429]);
    let silver = "authorization: Bearer s";
    assert_eq!(ask(&gateway, 3, silver), [200, 200, 429]);
    assert_eq!(ask(&gateway, 2, "x-api-key: k"), [200, 429]);
    let refused = client(&gateway).get("/", &["x-api-key: g"]);
    let told = refused.head.field("ratelimit-policy");
    assert_eq!(told, Some("\"plan\";q=3;w=3600"));
    let series = "requests_refused_total{route=\"all\",limit=\"plan\"}";
    assert!((metric(&gateway, series) - 4.0).abs() < f64::EPSILON);
    gateway.shutdown();
}

#[test]
fn the_tier_counts_for_limits_by_address_too() {
    let origin = Origin::saying("hello");
    let limit = "{ by = \"address\", rate = \"1/h\", tiers = { gold = \"3/h\" } }";
    let gateway = tiered(limit).start(&[origin.url()]);
    assert_eq!(ask(&gateway, 2, "x-other: 1"), [200, 429]);
    assert_eq!(ask(&gateway, 4, "x-api-key: g"), [200, 200, 200, 429]);
    gateway.shutdown();
}

#[test]
fn where_only_listed_keys_count_an_invented_one_is_none() {
    let origin = Origin::saying("hello");
    for (missing, expected) in [("refuse", [400, 400]), ("share", [200, 429])] {
        let limit = format!(
            "{{ by = \"api-key\", rate = \"1/h\", tiers = {{ gold = \"2/h\" }}, \
             listed_only = true, missing = \"{missing}\" }}"
        );
        let gateway = tiered(&limit).start(&[origin.url()]);
        let mut statuses = ask(&gateway, 1, "x-api-key: invented-1");
        statuses.extend(ask(&gateway, 1, "x-api-key: invented-2"));
        assert_eq!(statuses, expected, "{missing}");
        assert_eq!(ask(&gateway, 3, "x-api-key: g"), [200, 200, 429]);
        // Listed, in a tier without a rate of its own here.
        assert_eq!(ask(&gateway, 2, "x-api-key: s"), [200, 429]);
        gateway.shutdown();
    }
}

#[test]
fn operators_see_all_limits_and_where_a_key_stands_and_reset_it() {
    let origin = Origin::saying("hello");
    let limits = "{ name = \"plan\", by = \"api-key\", rate = \"2/h\", missing = \"pass\", \
                  tiers = { gold = \"3/h\" } }, { by = \"address\", rate = \"100/h\" }";
    let gateway = tiered(limits).start(&[origin.url()]);
    assert_eq!(ask(&gateway, 3, "x-api-key: k"), [200, 200, 429]);

    let all = look(&gateway, "/limits");
    let plan = &all["limits"][0];
    assert_eq!(
        (&plan["limit"], &plan["rate"]),
        (&"plan".into(), &"2/h".into())
    );
    assert_eq!(
        (&plan["tiers"]["gold"], &plan["refused"]),
        (&"3/h".into(), &1.into())
    );
    assert_eq!(all["limits"][1]["by"], "address");

    let key = "route=all&limit=plan&key=k";
    let stands = |remaining: [u64; 2]| {
        let told = look(&gateway, &format!("/limits?{key}"));
        let standings = told["standings"].as_array().unwrap().clone();
        let tiers: Vec<_> = standings.iter().map(|one| one["tier"].as_str()).collect();
        assert_eq!(tiers, [None, Some("gold")]);
        let left: Vec<_> = standings
            .iter()
            .map(|one| one["remaining"].as_u64())
            .collect();
        assert_eq!(left, remaining.map(Some));
    };
    stands([0, 3]);
    let (status, told) = post(&gateway, &format!("/limits/reset?{key}"));
    assert_eq!((status, &told["reset"]), (200, &true.into()));
    stands([2, 3]);
    assert_eq!(ask(&gateway, 1, "x-api-key: k"), [200]);

    let told = look(&gateway, "/limits?route=all&limit=address&key=127.0.0.1");
    assert_eq!(told["standings"][0]["remaining"], 97);
    gateway.shutdown();
}

#[test]
fn a_question_about_no_limit_is_told_what_is_wrong() {
    let origin = Origin::saying("hello");
    let gateway = tiered("{ by = \"address\", rate = \"1/h\" }").start(&[origin.url()]);
    for (query, status, said) in [
        (
            "route=all&limit=address&key=me",
            400,
            "key: \"me\" given, expected an address",
        ),
        (
            "route=all&limit=address",
            400,
            "key: \"nothing\" given, expected route, limit and key",
        ),
        ("route=no&limit=address&key=::1", 404, "\"no\" is no route"),
        (
            "route=all&limit=no&key=::1",
            404,
            "\"no\" is no limit of this route",
        ),
        (
            "route=all&q=1",
            400,
            "a parameter: \"q\" given, expected route, limit or key",
        ),
        (
            "route=a&route=b",
            400,
            "route: \"twice\" given, expected only one",
        ),
    ] {
        let (told, body) = admin(&gateway, &format!("/limits?{query}"));
        assert_eq!(told, status, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["detail"], said);
        let (told, _) = post(&gateway, &format!("/limits/reset?{query}"));
        assert_eq!(told, status);
    }
    // A reset is a change: it is not had by following a link.
    let (status, _) = admin(&gateway, "/limits/reset?route=all&limit=address&key=::1");
    assert_eq!(status, 405);
    gateway.shutdown();
}

#[test]
fn a_reload_keeps_the_budgets_of_policies_that_stay_and_scales_others() {
    let origin = Origin::saying("hello");
    let limit = |common: &str, gold: &str| {
        tiered(&format!(
            "{{ by = \"api-key\", rate = \"{common}\", tiers = {{ gold = \"{gold}\" }} }}"
        ))
    };
    let gateway = limit("1/h", "2/h").start(&[origin.url()]);
    assert_eq!(ask(&gateway, 2, "x-api-key: k"), [200, 429]);
    assert_eq!(ask(&gateway, 1, "x-api-key: g"), [200]);
    gateway
        .apply(limit("1/h", "5/h").config(&[origin.url()]))
        .unwrap();
    assert_eq!(ask(&gateway, 1, "x-api-key: k"), [429]);
    // Half of it was used, and not more than half is left.
    assert_eq!(ask(&gateway, 3, "x-api-key: g"), [200, 200, 429]);
    gateway.shutdown();
}

#[test]
fn what_makes_no_limit_is_told_with_its_field() {
    for (tables, limit, field, said) in [
        (
            "",
            "rate = \"1/h\", tiers = { iron = \"2/h\" }",
            "route[0].limit[0].tiers.iron",
            "\"iron\" given, which is no tier; there are \"gold\", \"silver\"",
        ),
        (
            "",
            "rate = \"1/h\", tiers = { gold = \"0/h\" }",
            "route[0].limit[0].tiers.gold",
            "count is 0",
        ),
        (
            "",
            "rate = \"1/h\", algorithm = \"guess\"",
            "route[0].limit[0].algorithm",
            "\"guess\" given",
        ),
        (
            "",
            "rate = \"1/h\", algorithm = \"fixed-window\", burst = 2",
            "route[0].limit[0].burst",
            "only for a token-bucket, and this is a fixed-window",
        ),
        (
            "",
            "rate = \"1/h\", wait_max = \"2s\"",
            "route[0].limit[0].wait_max",
            "only for a leaky-bucket",
        ),
        (
            "",
            "rate = \"1/h\", queue = 2",
            "route[0].limit[0].queue",
            "only for a leaky-bucket",
        ),
        (
            "",
            "rate = \"1/h\", listed_only = true",
            "route[0].limit[0]",
            "only for a limit by \"api-key\"",
        ),
        (
            "",
            "rate = \"1/h\", store = \"r\"",
            "route[0].limit[0].store",
            "is no Redis; there is none",
        ),
        (
            "",
            "rate = \"1/h\", deadline = \"5ms\"",
            "route[0].limit[0].deadline",
            "only for a limit with a store",
        ),
        (
            "[tier.more]\napi_keys = [\"GOLD\"]\n",
            "rate = \"1/h\"",
            "tier.more.api_keys[0]",
            "given twice",
        ),
        (
            "[tier.more]\napi_keys = [\"sha256:12\"]\n",
            "rate = \"1/h\"",
            "tier.more.api_keys[0]",
            "expected \"sha256:\" and the 64 hexadecimal digits",
        ),
    ] {
        let mut setup = tiered(&format!("{{ by = \"address\", {limit} }}"));
        setup.routes = tables.replace("GOLD", &hash("g")) + &setup.routes;
        let error = Config::from_toml(&setup.text(&["http://127.0.0.1:9".to_owned()])).unwrap_err();
        let told = error.mistakes().iter().any(|mistake| {
            mistake.field().starts_with(field) && mistake.to_string().contains(said)
        });
        assert!(told, "{limit}: {error}");
    }
}
