//! A list in a real file.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use stanchion_core::{Clock, ManualClock};
use stanchion_lb::discover::{FileError, FileWatch, Update};

const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// What the watch tells next, while time goes on.
async fn told(
    watch: &mut FileWatch<SocketAddr>,
    time: &ManualClock,
) -> Result<Update<SocketAddr>, FileError> {
    let goes_on = async {
        loop {
            time.advance(HALF_A_SECOND);
            tokio::task::yield_now().await;
        }
    };
    let told = async {
        tokio::select! {
            told = watch.next() => told.unwrap(),
            () = goes_on => unreachable!(),
        }
    };
    let deadline = Duration::from_secs(60);
    tokio::time::timeout(deadline, told)
        .await
        .expect("a change is seen")
}

fn ids(update: Result<Update<SocketAddr>, FileError>) -> Vec<String> {
    match update.unwrap() {
        Update::Full(endpoints) => endpoints.iter().map(|each| each.id().to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

/// In the place of the old one in one step.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn changes_and_mistakes_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints.toml");
    let (clock, time) = Clock::manual();
    let mut watch = FileWatch::new(&path).with_clock(clock);

    let missing = told(&mut watch, &time).await.unwrap_err();
    assert_eq!(missing.path(), Some(path.as_path()));
    assert!(std::error::Error::source(&missing).is_some());

    let list = |id: &str| format!("[[endpoint]]\naddress = '10.0.0.1:80'\nid = '{id}'\n");
    std::fs::write(&path, list("a")).unwrap();
    assert_eq!(ids(told(&mut watch, &time).await), ["a"]);

    replace(&path, &format!("{}{}", list("a"), list("b")));
    assert_eq!(ids(told(&mut watch, &time).await), ["a", "b"]);

    std::fs::write(&path, "[[endpoint]]\naddress = '10.0.0.1'\n").unwrap();
    let wrong = told(&mut watch, &time).await.unwrap_err();
    assert_eq!(
        (wrong.line(), wrong.field()),
        (Some(2), Some("endpoint[0].address"))
    );
    assert!(
        wrong.to_string().starts_with(&path.display().to_string()),
        "{wrong}"
    );

    replace(&path, "endpoint = []");
    assert_eq!(ids(told(&mut watch, &time).await), [""; 0]);
}

#[tokio::test]
async fn a_link_may_be_turned() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let list =
        |id: &str| format!(r#"{{"endpoint": [{{"id": "{id}", "address": "10.0.0.1:80"}}]}}"#);
    std::fs::write(at("one"), list("a")).unwrap();
    std::fs::write(at("two"), list("b")).unwrap();
    let (clock, time) = Clock::manual();
    let link = |to: &str| {
        std::os::unix::fs::symlink(at(to), at("new")).unwrap();
        std::fs::rename(at("new"), at("list.json")).unwrap();
    };
    link("one");
    let mut watch = FileWatch::new(at("list.json")).with_clock(clock);
    assert_eq!(ids(told(&mut watch, &time).await), ["a"]);
    link("two");
    assert_eq!(ids(told(&mut watch, &time).await), ["b"]);
}

#[test]
fn a_period_of_nothing_is_refused() {
    let watch = || FileWatch::<SocketAddr>::new("endpoints.toml");
    for wrong in [Duration::ZERO, Duration::MAX] {
        let error = watch().with_period(wrong).unwrap_err();
        assert_eq!(error.field(), "period");
    }
    assert!(watch().with_period(HALF_A_SECOND).is_ok());
}
