//! Where a server is: scheme, authority and a path prefix.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// A server's address as people write it: `http://host:port/prefix`, or `https://…` with the feature `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    is_secure: bool,
    authority: String,
    prefix: String,
}

impl BaseUrl {
    /// Gives `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Tells whether the server speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Gives the value of a request's `Host` header: a secure server's usual port is not in it.
    pub(super) fn host_header(&self) -> &str {
        let usual = self.authority.strip_suffix(":443").filter(|_| self.is_secure);
        usual.unwrap_or(&self.authority)
    }

    /// Gives the path of a request below this base; `path` begins with `/`.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl FromStr for BaseUrl {
    type Err = Error;

    /// Parses an address; exactly one trailing slash is dropped (C-2), a missing port is 80, or 443 for `https://`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::BadBaseUrl { url: text.to_owned(), reason };
        let (is_secure, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) if cfg!(feature = "tls") => (true, rest),
            Some(("https", _)) => return Err(refuse("https:// needs the feature `tls`")),
            _ => return Err(refuse("only http:// and https:// are spoken here")),
        };
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
        let usual_port = if is_secure { 443 } else { 80 };
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{usual_port}") };
        Ok(Self { is_secure, authority, prefix: prefix.to_owned() })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
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
        check("ftp://a", "bad base URL `ftp://a`: only http:// and https:// are spoken here");
        check("http:///x", "bad base URL `http:///x`: the host name is missing or malformed");
        check("http://a/?q", "bad base URL `http://a/?q`: a base has no query or fragment");
    }
    #[cfg(not(feature = "tls"))]
    #[test]
    fn a_secure_base_names_the_feature_it_needs() {
        check("https://a", "bad base URL `https://a`: https:// needs the feature `tls`");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_secure_base_has_its_own_port_and_leaves_it_out_of_the_host_header() {
        check("https://a/v1/", "/v1/x @ a:443");
        let base = |text: &str| text.parse::<BaseUrl>().expect("a base");
        assert_eq!(base("https://a/v1").host_header(), "a");
        assert_eq!(base("https://a:8443").host_header(), "a:8443");
        assert_eq!(base("http://a:443").host_header(), "a:443");
        assert_eq!(base("https://a:8443/p").to_string(), "https://a:8443/p");
    }
}
