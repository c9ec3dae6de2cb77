//! The live page: one document, with its style and its script in it.

use bytes::Bytes;
use http::{HeaderValue, header};

use super::answer::{self, Answer};
use super::body::Body;

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// What the page may do: apply this style, run this script, and talk to us. A browser runs nothing
/// that has another hash, whatever else should get into the page.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
    style-src 'sha256-K5Wk1tdY/sUO9tE3Wvj18o1e9XsEWX7PUF+kfkLslUI='; \
    script-src 'sha256-tGeD3opc4khe1CQwXXvoLpPg1mtP1STc05v9P7CCTvk='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Debug)]
pub(super) struct Page {
    document: Bytes,
}

impl Page {
    pub(super) fn new() -> Self {
        let document = DOCUMENT
            .replacen("{style}", STYLE, 1)
            .replacen("{script}", SCRIPT, 1);
        Self {
            document: document.into(),
        }
    }

    pub(super) fn answer(&self) -> Answer {
        let body = Body::full(self.document.clone());
        let mut answer = answer::new("text/html; charset=utf-8", body);
        let policy = HeaderValue::from_static(POLICY);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        answer
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_has_the_hashes_of_the_style_and_the_script() {
        for (kind, text) in [("style", STYLE), ("script", SCRIPT)] {
            let hash = STANDARD.encode(Sha256::digest(text));
            let source = format!("{kind}-src 'sha256-{hash}'");
            assert!(POLICY.contains(&source), "write into the policy: {source}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_makes_no_markup_of_names() {
        let page = String::from_utf8(Page::new().document.to_vec()).unwrap();
        assert!(page.contains("prefers-color-scheme") && page.contains("EventSource"));
        assert!(!page.contains("{style}") && !page.contains("{script}"));
        let own = page.replace("http://www.w3.org/2000/svg", "");
        let own = own.replace("http://api.example.com/", "");
        for unwanted in [
            "http://",
            "https://",
            "src=",
            "@import",
            "url(",
            "innerHTML",
            "style=\"",
        ] {
            assert!(!own.contains(unwanted), "{unwanted}");
        }
    }
}
