//! `chromedriver`, and through it a headless Chromium.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Server;
use super::spec::{Place, ServerSpec};

/// How long one command may take; starting the browser is one.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// A headless Chromium, driven by `chromedriver`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chromium;

/// A running `chromedriver`.
pub type ChromiumServer = Server<Chromium>;

impl Chromium {
    /// A browser with an empty profile for each tab.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl ServerSpec for Chromium {
    fn program(&self) -> &str {
        "chromedriver"
    }

    fn package(&self) -> &str {
        "chromium-driver"
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(place.program());
        command
            .arg(format!("--port={}", place.addr().port()))
            .arg(format!("--url-base={}", base(place)))
            // Whatever a browser writes beside its profile.
            .env("HOME", place.data())
            .env("XDG_CONFIG_HOME", place.data())
            .env("XDG_CACHE_HOME", place.data());
        command
    }

    fn answers(&self, place: &Place, _pid: u32) -> bool {
        // Another one would not know this path.
        let status = send(
            place.addr(),
            "GET",
            &format!("{}/status", base(place)),
            None,
        );
        status.is_ok_and(|status| status["ready"] == true)
    }
}

/// A path that only this driver answers, made of the name of its folder.
fn base(place: &Place) -> String {
    let folder = place.data().parent().and_then(|folder| folder.file_name());
    let folder = folder.unwrap_or_default().to_string_lossy();
    format!("/{}", folder.trim_start_matches('.'))
}

impl Server<Chromium> {
    /// Starts a browser with one empty tab.
    ///
    /// It reaches the network only as far as a page takes it: background requests are off.
    ///
    /// # Panics
    /// When the browser does not start.
    #[must_use]
    #[track_caller]
    pub fn tab(&self) -> Tab<'_> {
        let profile = tempfile::Builder::new()
            .prefix("profile-")
            .tempdir_in(self.data())
            .unwrap_or_else(|error| panic!("no folder for a profile: {error}"))
            // It goes with the data.
            .keep();
        let arguments = [
            "--headless",
            // Root may not use it, and the pages are our own.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let path = format!("{}/session", base(&self.place));
        let session = send(self.addr(), "POST", &path, Some(&wanted))
            .unwrap_or_else(|error| panic!("no browser: {error}; {}", self.log()));
        let id = session["sessionId"].as_str().unwrap_or_default();
        Tab {
            driver: self.addr(),
            session: format!("{path}/{id}"),
            profile: std::marker::PhantomData,
        }
    }
}

/// A browser with one tab; dropping it closes the browser.
#[derive(Debug)]
pub struct Tab<'a> {
    driver: SocketAddr,
    session: String,
    profile: std::marker::PhantomData<&'a ()>,
}

impl Tab<'_> {
    /// Opens a URL and waits until it is loaded.
    ///
    /// # Panics
    /// When it cannot be loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.command("POST", "/url", Some(json!({ "url": url })));
    }

    /// Shows pages as on a screen of this size, in pixels, that is light or dark.
    ///
    /// # Panics
    /// When the browser refuses.
    #[track_caller]
    pub fn screen(&self, width: u32, height: u32, scheme: &str) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        );
        let scheme = json!({"name": "prefers-color-scheme", "value": scheme});
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [scheme] }),
        );
    }

    /// Runs the body of a function in the page, and gives what it returns.
    ///
    /// # Panics
    /// When the script throws.
    #[expect(
        clippy::must_use_candidate,
        reason = "it is often called for what it does"
    )]
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.command(
            "POST",
            "/execute/sync",
            Some(json!({"script": script, "args": []})),
        )
    }

    /// Sends a command of the DevTools protocol.
    ///
    /// # Panics
    /// When the browser refuses it.
    #[expect(
        clippy::must_use_candidate,
        reason = "it is often called for what it does"
    )]
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = json!({"cmd": command, "params": parameters});
        self.command("POST", "/goog/cdp/execute", Some(command))
    }

    /// What the browser wrote to its console since this was asked last: errors of scripts, refused
    /// requests, breaches of a policy.
    ///
    /// # Panics
    /// When the browser does not answer.
    #[must_use]
    #[track_caller]
    pub fn console(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", Some(json!({"type": "browser"})));
        let entries = log.as_array().cloned().unwrap_or_default();
        let line = |entry: &Value| format!("{}: {}", entry["level"], entry["message"]);
        entries.iter().map(line).collect()
    }

    /// The whole page as PNG.
    ///
    /// # Panics
    /// When the browser does not give one.
    #[must_use]
    #[track_caller]
    pub fn screenshot(&self) -> Vec<u8> {
        let whole = json!({"captureBeyondViewport": true});
        let image = self.devtools("Page.captureScreenshot", whole);
        let image = image["data"].as_str().unwrap_or_default();
        STANDARD
            .decode(image)
            .unwrap_or_else(|error| panic!("no image: {error}"))
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let path_of_session = format!("{}{path}", self.session);
        send(self.driver, method, &path_of_session, body.as_ref())
            .unwrap_or_else(|error| panic!("the browser refuses {method} {path}: {error}"))
    }
}

impl Drop for Tab<'_> {
    fn drop(&mut self) {
        // A failing test must not panic twice; the browser goes with its driver.
        let _ = send(self.driver, "DELETE", &self.session, None);
    }
}

/// Sends one command of WebDriver, and gives its value.
///
/// Source: W3C WebDriver, section 6.
fn send(addr: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&addr, COMMAND_MAX)?;
    stream.set_read_timeout(Some(COMMAND_MAX))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    // The driver keeps the connection open, whatever it is asked.
    let mut stream = BufReader::new(stream);
    let mut status = String::new();
    stream.read_line(&mut status)?;
    let mut length = 0;
    loop {
        let mut field = String::new();
        stream.read_line(&mut field)?;
        let Some((name, value)) = field.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut reply = Vec::new();
    stream.take(length).read_to_end(&mut reply)?;
    let mut reply: Value = serde_json::from_slice(&reply).map_err(io::Error::other)?;
    let value = reply["value"].take();
    if status.starts_with("HTTP/1.1 200") {
        return Ok(value);
    }
    Err(io::Error::other(format!(
        "{}: {}",
        value["error"], value["message"]
    )))
}
