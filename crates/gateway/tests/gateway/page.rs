//! The live page in a real browser. Pictures of it are left in the build's folder for test files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use stanchion_gateway::{Config, Gateway, Switch};
use testkit::{Chromium, Server, Tab, eventually_blocking};

use crate::setup::{Origin, Then, dead_url, ok, start};
use crate::wire::Wire;

/// A browser takes its time, above all beside other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Collects what goes wrong in a page, from before its own script runs.
const COLLECT_ERRORS: &str = r#"
    window.mistakes = [];
    addEventListener("error", (e) => mistakes.push(String(e.message)));
    addEventListener("unhandledrejection", (e) => mistakes.push(String(e.reason)));
    addEventListener("securitypolicyviolation", (e) => mistakes.push(e.violatedDirective));
"#;

#[track_caller]
fn shows(tab: &Tab<'_>, what: &str, condition: &str) {
    let script = format!("return Boolean({condition})");
    eventually_blocking(PATIENCE, what, || tab.run(&script) == true);
}

/// No script failed, and the browser has nothing to note but the question that was refused.
#[track_caller]
fn is_clean(tab: &Tab<'_>) {
    assert_eq!(tab.run("return mistakes"), json!([]));
    let mut console = tab.console();
    let refused = |line: &str| line.contains("/explain?url=%3Cimg") && line.contains("400");
    // Advice of the browser, such as to store the token beside a user's name, is no mistake.
    console.retain(|line| !line.starts_with("\"DEBUG\"") && !refused(line));
    assert_eq!(console, Vec::<String>::new());
}

/// A gateway with routes that are used, limited, failing and idle.
fn gateway(origin: &Origin) -> Gateway {
    start(&format!(
        "access_log = \"off\"\nworkers = 1\n\
         listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         shutdown = {{ idle_grace = \"10ms\", deadline = \"5s\" }}\n\
         upstream.shop.endpoints = [{:?}, {:?}]\n\
         upstream.dead.endpoints = [{:?}]\n\
         [[route]]\nid = \"shop\"\npath_prefix = \"/shop\"\nupstream = \"shop\"\n\
         limit = [{{ name = \"plan\", by = \"api-key\", rate = \"20/s\" }}]\n\
         [[route]]\nid = \"search-with-a-rather-long-name.v2\"\npath_prefix = \"/search\"\n\
         upstream = \"shop\"\n\
         [[route]]\nid = \"reports\"\npath_prefix = \"/reports\"\nupstream = \"dead\"\n\
         [[route]]\nid = \"idle\"\nhost = \"idle.example.com\"\nupstream = \"shop\"\n",
        origin.url(),
        origin.url().replace("127.0.0.1", "localhost"),
        dead_url(),
    ))
}

/// Clients that ask until they are dropped, or for two minutes.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Traffic {
    fn to(gateway: &Gateway) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, address) = (stop.clone(), gateway.address());
        let thread = std::thread::spawn(move || {
            let mut wire = Wire::connect(address);
            // Every tenth of a second, a few of each kind.
            for _ in 0..1_200 {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                for (path, times) in [
                    ("/shop/1", 5),
                    ("/search?q=1", 3),
                    ("/search/none", 1),
                    ("/reports", 1),
                    ("/nowhere", 1),
                ] {
                    for _ in 0..times {
                        wire.get(path, &["x-api-key: a"]);
                    }
                }
                crate::setup::pass(Duration::from_millis(100));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the clients met an error");
        }
    }
}

fn origin() -> Origin {
    Origin::start(|head, wire| {
        wire.body(head);
        if head.first.contains("/none") {
            wire.write("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        } else {
            wire.write(ok("hello"));
        }
        Then::Keep
    })
}

#[test]
fn the_page_draws_what_happens_on_every_screen_without_an_error() {
    let Some(chromium) = Server::start(Chromium::new()) else {
        return;
    };
    let origin = origin();
    let gateway = gateway(&origin);
    let traffic = Traffic::to(&gateway);
    let tab = chromium.tab();
    let collect = json!({ "source": COLLECT_ERRORS });
    tab.devtools("Page.addScriptToEvaluateOnNewDocument", collect);

    let mut grounds = Vec::new();
    for (width, height) in [(1280, 900), (390, 844)] {
        for scheme in ["light", "dark"] {
            tab.screen(width, height, scheme);
            tab.open(&format!("http://{}/", gateway.admin_address()));
            draws(&tab);
            explains(&tab);
            let ground = tab.run(FITS);
            grounds.push(ground.as_str().unwrap_or_default().to_owned());
            is_clean(&tab);

            let picture = tab.screenshot();
            assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000);
            let name = format!("live-page-{width}-{scheme}.png");
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(file, picture).unwrap();
        }
    }
    assert!(
        grounds[0] == grounds[2] && grounds[1] == grounds[3],
        "{grounds:?}"
    );
    assert_ne!(grounds[0], grounds[1]);
    drop(tab);
    drop(traffic);
    gateway.shutdown();
}

/// Figures, charts and tables have something to show.
fn draws(tab: &Tab<'_>) {
    shows(
        tab,
        "serving",
        "document.querySelector('#state').textContent === 'serving'",
    );
    shows(
        tab,
        "figures above zero",
        "['rps', 'p50', 'p99', 'refused', 'errors'].every((name) => \
           parseFloat(document.getElementById('t-' + name).textContent) > 0)",
    );
    shows(
        tab,
        "five layers and three lines",
        "document.querySelectorAll('#flow path').length >= 4 \
         && document.querySelectorAll('#latency path').length >= 3",
    );
    let bars = "[...document.querySelectorAll('#routes tbody tr:first-child .bar i')]\
                .reduce((sum, i) => sum + i.getBoundingClientRect().width, 0)";
    shows(tab, "a bar that is drawn", &format!("{bars} > 10"));
    let names = tab.run(
        "return [...document.querySelectorAll('#routes tbody th')].map((th) => th.textContent)",
    );
    let expected = [
        "shop",
        "search-with-a-rather-long-name.v2",
        "reports",
        "idle",
        "unmatched",
    ];
    assert_eq!(names, json!(expected));
    let endpoints = tab.run("return document.querySelectorAll('#endpoints tbody tr').length");
    assert_eq!(endpoints, 3);
    let label = tab.run("return document.querySelector('#flow').getAttribute('aria-label')");
    assert!(label.as_str().unwrap().contains("2xx"), "{label}");
}

fn explains(tab: &Tab<'_>) {
    let ask = |url: &str, fields: &str| {
        tab.run(&format!(
            "document.querySelector('#explained').replaceChildren(); \
             document.querySelector('#x-url').value = {}; \
             document.querySelector('#x-fields').value = {}; \
             document.querySelector('#explain button').click()",
            Value::from(url),
            Value::from(fields),
        ));
    };
    // What is typed in comes back as text only.
    ask("<img src=x onerror=mistakes.push('markup')>", "");
    shows(tab, "the mistake", "document.querySelector('.verdict.no')");
    let told = tab.run("return document.querySelector('#explained').textContent");
    assert!(told.as_str().unwrap().contains("<img src=x"), "{told}");
    assert_eq!(
        tab.run("return document.querySelectorAll('#explained img').length"),
        0
    );

    ask("/shop/7", "x-api-key: a");
    shows(
        tab,
        "the way",
        "document.querySelectorAll('#explained .steps li').length === 6",
    );
    let told = tab.run("return document.querySelector('#explained').textContent");
    let told = told.as_str().unwrap();
    assert!(told.contains("takes the route shop"), "{told}");
    assert!(told.contains("admits 20/s for this key"), "{told}");
}

/// Nothing is wider than the screen, nor cut off in a box that it should fit; then the color of
/// the ground.
const FITS: &str = r#"
    const page = document.documentElement;
    if (page.scrollWidth > page.clientWidth) throw `the page is ${page.scrollWidth} wide`;
    for (const element of document.querySelectorAll("body *:not(.skip)")) {
      const box = element.getBoundingClientRect();
      if (box.width && box.right > innerWidth + 0.5) throw `${element.tagName} ends at ${box.right}`;
    }
    for (const element of document.querySelectorAll(".card > *")) {
      const style = getComputedStyle(element.parentElement);
      const end = element.parentElement.getBoundingClientRect().right - parseFloat(style.paddingRight);
      const box = element.getBoundingClientRect();
      if (box.width && box.right > end + 0.5) throw `${element.id} leaves its card`;
    }
    for (const element of document.querySelectorAll(".tile p, .tile h2, .head, td, thead th")) {
      if (element.scrollWidth > element.clientWidth + 1 && !element.matches(".text"))
        throw `${element.textContent} is cut off`;
    }
    return getComputedStyle(document.body).backgroundColor;
"#;

#[test]
fn the_page_tells_that_it_is_cut_off_and_comes_back_with_the_gateway() {
    let Some(chromium) = Server::start(Chromium::new()) else {
        return;
    };
    let origin = origin();
    let first = gateway(&origin);
    let address = first.admin_address();
    let tab = chromium.tab();
    tab.screen(1280, 900, "light");
    tab.open(&format!("http://{address}/"));
    shows(
        &tab,
        "serving",
        "document.querySelector('#state').textContent === 'serving'",
    );
    first.shutdown();
    shows(
        &tab,
        "stale",
        "document.querySelector('#state').textContent.startsWith('no news') \
         && document.querySelector('main.stale')",
    );
    let second = Gateway::start(
        Config::from_toml(&many_routes())
            .unwrap()
            .with_admin_address(address),
    )
    .unwrap();
    shows(
        &tab,
        "serving again",
        "document.querySelector('#state').textContent === 'serving' \
         && !document.querySelector('main.stale')",
    );
    // The new one has a thousand routes; of these, the busiest have a row each.
    let traffic = std::thread::spawn({
        let address = second.address();
        move || {
            let mut wire = Wire::connect(address);
            for number in 900..910 {
                wire.get(&format!("/{number}"), &[]);
            }
        }
    });
    traffic.join().unwrap();
    shows(
        &tab,
        "twenty rows and the rest",
        "document.querySelectorAll('#routes tbody tr').length === 21 \
         && document.querySelector('#routes tbody tr.rest th').textContent === '981 others' \
         && [...document.querySelectorAll('#routes tbody th')].some((th) => th.textContent === 'r909')",
    );
    drop(tab);
    second.shutdown();
}

#[test]
fn the_page_has_the_file_read_again_and_tells_of_one_that_is_refused() {
    let Some(chromium) = Server::start(Chromium::new()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (file, token) = (
        folder.path().join("gateway.toml"),
        folder.path().join("token"),
    );
    std::fs::write(&token, "0123456789abcdef").unwrap();
    let text = many_routes().replace(
        "admin.address = \"127.0.0.1:0\"",
        &format!("admin = {{ address = \"127.0.0.1:0\", token_file = {token:?} }}"),
    );
    std::fs::write(&file, &text).unwrap();
    let gateway = Gateway::start(Config::read(&file).unwrap()).unwrap();
    let tab = chromium.tab();
    tab.screen(390, 844, "light");
    tab.open(&format!("http://{}/", gateway.admin_address()));
    shows(
        &tab,
        "serving",
        "document.querySelector('#state').textContent === 'serving'",
    );

    let press = |token: &str| {
        tab.run(&format!(
            "document.querySelector('#reloaded').textContent = ''; \
             document.querySelector('#token').value = {token:?}; \
             document.querySelector('#reload button').click()"
        ));
    };
    let said = |what: &str| {
        let told = "document.querySelector('#reloaded').textContent";
        shows(&tab, what, &format!("{told}.includes({what:?})"));
    };
    press("");
    said("changes need the token");
    std::fs::write(&file, text.replace("id = \"r7\"", "id = \"seven\"")).unwrap();
    press("0123456789abcdef");
    said("Configuration 2 is in force");
    shows(
        &tab,
        "the generation",
        "document.querySelector('#c-generation').textContent === '2'",
    );

    std::fs::write(&file, text.replace("id = \"r7\"", "id = \"<b>\"")).unwrap();
    press("0123456789abcdef");
    said("route[7].id: \"<b>\" given");
    shows(
        &tab,
        "the alert, as text",
        "!document.querySelector('#alert').hidden \
         && document.querySelector('#alert').textContent.includes('<b>') \
         && !document.querySelector('#alert b')",
    );
    tab.run(FITS);
    drop(tab);
    gateway.shutdown();
}

/// As in the demo: a switch makes the server fail, and its breaker is seen to open.
#[test]
fn a_switch_on_the_page_makes_a_server_fail_and_its_breaker_opens() {
    let Some(chromium) = Server::start(Chromium::new()) else {
        return;
    };
    let switch = Switch::new("origin-1", ["well", "fails", "hangs", "slow"]).unwrap();
    let behaviour = switch.clone();
    let origin = Origin::start(move |head, wire| {
        wire.body(head);
        wire.write(match behaviour.position() {
            0 => ok("hello"),
            _ => "HTTP/1.1 500 Failed\r\ncontent-length: 0\r\n\r\n".to_owned(),
        });
        Then::Keep
    });
    let config = format!(
        "access_log = \"off\"\nworkers = 1\n\
         listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         shutdown = {{ idle_grace = \"10ms\", deadline = \"5s\" }}\n\
         [upstream.shop]\nendpoints = [{:?}]\n\
         breaker = {{ window = 4, min_calls = 2, open = \"1h\" }}\n\
         [[route]]\nid = \"shop\"\nupstream = \"shop\"\n",
        origin.url(),
    );
    let config = Config::from_toml(&config).unwrap();
    let gateway = Gateway::start_with(config, (), [switch.clone()]).unwrap();
    let tab = chromium.tab();
    tab.screen(390, 844, "dark");
    tab.open(&format!("http://{}/", gateway.admin_address()));
    let buttons = "[...document.querySelectorAll('#switches button')]";
    shows(&tab, "the switch", &format!("{buttons}.length === 4"));
    let pressed = |word: &str| {
        let pressed = format!("{buttons}.find((b) => b.ariaPressed === 'true').textContent");
        shows(&tab, word, &format!("{pressed} === {word:?}"));
    };
    pressed("well");
    tab.run(&format!(
        "{buttons}.find((b) => b.textContent === 'fails').click()"
    ));
    pressed("fails");
    assert_eq!(switch.word(), "fails");

    let mut client = crate::setup::client(&gateway);
    let statuses: Vec<u16> = (0..3).map(|_| client.get("/", &[]).status).collect();
    assert_eq!(statuses, [500, 500, 503]);
    let state = "document.querySelector('#endpoints tbody tr').lastElementChild.textContent";
    shows(&tab, "the breaker", &format!("{state} === 'breaker open'"));
    for (width, height, scheme) in [(1280, 900, "light"), (390, 844, "dark")] {
        tab.screen(width, height, scheme);
        tab.run(FITS);
        let name = format!("page-switches-{width}-{scheme}.png");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(folder.join(name), tab.screenshot()).unwrap();
    }
    drop(tab);
    gateway.shutdown();
}

fn many_routes() -> String {
    let mut text = format!(
        "access_log = \"off\"\nworkers = 1\n\
         listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         shutdown = {{ idle_grace = \"10ms\", deadline = \"5s\" }}\n\
         upstream.a.endpoints = [{:?}]\n",
        dead_url()
    );
    for number in 0..1_000 {
        text += &format!(
            "[[route]]\nid = \"r{number}\"\npath_prefix = \"/{number}\"\nupstream = \"a\"\n"
        );
    }
    text
}
