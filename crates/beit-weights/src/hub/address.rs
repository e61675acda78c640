//! Addresses on the web, as far as the hub needs them.

use std::fmt::{self, Write};
use ureq::http::Uri;

/// Scheme, host and port of an address: whom a token may be sent to. The address is read by the same library that connects to it,
/// so that both see the same host in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    /// User and password, where the address has them. Without them it is another origin.
    user: Option<String>,
    host: String,
    port: u16,
}

impl Origin {
    /// `None` where the address is not one of the web.
    pub(super) fn read(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?.to_ascii_lowercase(), uri.authority()?);
        let usual = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        // What stands between the host and the path must be a port or nothing.
        let (user, place) = match authority.as_str().rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority.as_str()),
        };
        let host = authority.host();
        let port = match place.strip_prefix(host)? {
            "" | ":" => usual,
            _ => authority.port_u16()?,
        };
        (!host.is_empty()).then(|| Self { scheme, user, host: host.to_ascii_lowercase(), port })
    }
}

/// Without the user, who may have a password; the port only where it is not the usual one.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// Whether two addresses have the same origin. Two that cannot be read have not.
pub(super) fn same_origin(one: &str, other: &str) -> bool {
    Origin::read(one).is_some_and(|one| Some(one) == Origin::read(other))
}

/// The origin of an address, for people; the address itself where it has none.
pub(super) fn shown_origin(url: &str) -> String {
    Origin::read(url).map_or_else(|| url.to_owned(), |origin| origin.to_string())
}

/// The address that a redirect at `url` names: a whole one, one without a scheme, or a path. `None` where it names none of the web.
pub(super) fn joined(url: &str, location: &str) -> Option<String> {
    let base: Uri = url.parse().ok()?;
    let whole = if location.starts_with("//") {
        format!("{}:{location}", base.scheme_str()?)
    } else if location.starts_with('/') {
        format!("{}://{}{location}", base.scheme_str()?, base.authority()?)
    } else {
        location.to_owned()
    };
    Origin::read(&whole).map(|_| whole)
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
    fn addresses_of_one_origin() {
        for (one, other) in [
            ("https://hub.co", "https://hub.co/a/b?c#d"),
            ("https://hub.co", "HTTPS://Hub.CO/a"),
            ("https://hub.co", "https://hub.co:443/a"),
            ("https://hub.co", "https://hub.co:/a"),
            ("http://hub.co:80", "http://hub.co?a"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/a"),
            ("https://[::1]", "https://[::1]:443/a"),
            ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443/a"),
            ("https://me:secret@hub.co", "https://me:secret@hub.co/a"),
        ] {
            assert!(same_origin(one, other) && same_origin(other, one), "{one} {other}");
        }
    }

    #[test]
    fn addresses_of_other_origins() {
        for other in [
            "https://hub.co.evil/",
            "https://evil/hub.co",
            "https://hub.co@evil/",
            "https://hub.co:443@evil/",
            "https://hub.co%40evil/",
            "https://evil\\@hub.co/",
            "https://evil#@hub.co/",
            "https://evil?@hub.co/",
            "https://me@hub.co/",
            "https://me:secret@hub.co/",
            "https://@hub.co/",
            "https://hub.co:444/",
            "https://hub.co:80/",
            "https://hub.co:0443x/",
            "https://hub.co:99443/",
            "https://hub.co:443:443/",
            "https://hub.co./",
            "http://hub.co/",
            "http://hub.co:443/",
            "ftp://hub.co/",
            "//hub.co/",
            "hub.co",
            "hub.co:443",
            "/hub.co",
            "https:/hub.co",
            "https:hub.co",
            "https://",
            "https://:443/",
            "https://me@/",
            "https://[hub.co]/",
            "https://[::1",
            " https://hub.co/",
            "https://hub.co /",
            "",
        ] {
            assert!(!same_origin(other, "https://hub.co"), "{other}");
        }
        for pair in [("", ""), ("hub.co", "hub.co"), ("ftp://hub.co", "ftp://hub.co")] {
            assert!(!same_origin(pair.0, pair.1), "{pair:?}");
        }
        assert!(!same_origin("https://[::1]", "https://[::2]"));
        assert!(!same_origin("https://me:one@hub.co", "https://me:two@hub.co"));
    }

    #[test]
    fn origins_for_people() {
        for (url, shown) in [
            ("https://Hub.co/a/b?c", "https://hub.co"),
            ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080"),
            ("https://[::1]:8443/a", "https://[::1]:8443"),
            ("https://me:secret@hub.co/a", "https://hub.co"),
            ("no address", "no address"),
        ] {
            assert_eq!(shown_origin(url), shown);
        }
    }

    #[test]
    fn redirects() {
        let at = "https://hub.co/a/b";
        for (location, next) in [
            ("/c?d", Some("https://hub.co/c?d")),
            ("/@evil/c", Some("https://hub.co/@evil/c")),
            ("/\\evil/c", Some("https://hub.co/\\evil/c")),
            ("//cdn.co/c", Some("https://cdn.co/c")),
            ("//me@cdn.co:444/c", Some("https://me@cdn.co:444/c")),
            ("///cdn.co/c", None),
            ("https://cdn.co/c", Some("https://cdn.co/c")),
            ("HTTPS://cdn.co/c", Some("HTTPS://cdn.co/c")),
            ("http://[::1]:8080/c", Some("http://[::1]:8080/c")),
            ("ftp://cdn.co/c", None),
            ("https:c", None),
            ("c/d", None),
            ("", None),
        ] {
            assert_eq!(joined(at, location).as_deref(), next, "{location}");
        }
        assert_eq!(joined("https://hub.co:444", "/c").as_deref(), Some("https://hub.co:444/c"));
        assert_eq!(joined("https://hub.co?a", "/c").as_deref(), Some("https://hub.co/c"));
        assert_eq!(joined("nowhere", "/c"), None);
    }

    #[test]
    fn encoding() {
        assert_eq!(encoded("refs/pr/2", ""), "refs%2Fpr%2F2");
        assert_eq!(encoded("a b/ü.bin", "/"), "a%20b/%C3%BC.bin");
    }
}
