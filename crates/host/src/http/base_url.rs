//! Where a server is: scheme, authority and a path prefix.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// A server's address as people write it: `http://host:port/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    authority: String,
    prefix: String,
}

impl BaseUrl {
    /// Gives `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Gives the path of a request below this base; `path` begins with `/`.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl FromStr for BaseUrl {
    type Err = Error;

    /// Parses an address; exactly one trailing slash is dropped (C-2), a missing port is 80.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::BadBaseUrl { url: text.to_owned(), reason };
        let rest = text.strip_prefix("http://").ok_or_else(|| refuse("only http:// is spoken here"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (authority, prefix) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.is_empty() || authority.contains(['@', '?', '#', ' ']) {
            return Err(refuse("the host name is missing or malformed"));
        }
        if prefix.contains(['?', '#', ' ']) {
            return Err(refuse("a base has no query or fragment"));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, prefix: prefix.to_owned() })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = text
            .parse::<BaseUrl>()
            .map_or_else(|error| error.to_string(), |url| url.path("/x") + " @ " + url.authority());
        assert_eq!(got, want);
    }

    #[test]
    fn exactly_one_trailing_slash_is_dropped_c2() {
        check("http://a:1", "/x @ a:1");
        check("http://a:1/", "/x @ a:1");
        check("http://a:1//", "//x @ a:1");
        check("http://a/p/", "/p/x @ a:80");
    }

    #[test]
    fn a_bad_base_says_what_is_wrong() {
        check("ftp://a", "bad base URL `ftp://a`: only http:// is spoken here");
        check("http:///x", "bad base URL `http:///x`: the host name is missing or malformed");
        check("http://a/?q", "bad base URL `http://a/?q`: a base has no query or fragment");
    }
}
