//! Addresses on the web, as far as the hub needs them.

use std::fmt::Write;

/// Scheme, host and port of an address: whom a token may be sent to.
pub(super) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}").to_ascii_lowercase()
}

/// The address that a redirect at `url` names; `None` where it names none.
pub(super) fn joined(url: &str, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    if let Some(rest) = location.strip_prefix("//") {
        return Some(format!("{}://{rest}", url.split_once("://")?.0));
    }
    location.starts_with('/').then(|| origin(url) + location)
}

/// Text as a part of a path; the characters of `keep` stay as they are.
pub(super) fn encoded(text: &str, keep: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if byte.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~') || keep.contains(c) {
            all.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(all, "%{byte:02X}");
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!(origin("https://Hub.co/a/b?c"), "https://hub.co");
        assert_eq!(origin("http://127.0.0.1:80/a"), "http://127.0.0.1:80");
        for other in ["https://hub.co.evil/", "https://hub.co@evil/", "https://hub.co:444/", "http://hub.co/"]
        {
            assert_ne!(origin(other), "https://hub.co");
        }
    }

    #[test]
    fn redirects() {
        let at = "https://hub.co/a/b";
        assert_eq!(joined(at, "/c?d").as_deref(), Some("https://hub.co/c?d"));
        assert_eq!(joined(at, "//cdn.co/c").as_deref(), Some("https://cdn.co/c"));
        assert_eq!(joined(at, "https://cdn.co/c").as_deref(), Some("https://cdn.co/c"));
        assert_eq!(joined(at, "ftp://cdn.co/c"), None);
    }

    #[test]
    fn encoding() {
        assert_eq!(encoded("refs/pr/2", ""), "refs%2Fpr%2F2");
        assert_eq!(encoded("a b/ü.bin", "/"), "a%20b/%C3%BC.bin");
    }
}
