//! The content of a file in a prompt: an address, a `data:` URL or plain base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use turnkeep_protocol::model_message::FileContent;

/// Holds a file's content as a provider can be given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileData {
    /// Lets the provider fetch it.
    Url(String),
    /// Holds it in base64.
    Base64(String),
}

#[cfg(feature = "anthropic")]
impl FileData {
    /// Gives the content as text, if it is here and is text.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Url(_) => None,
            Self::Base64(data) => String::from_utf8(STANDARD.decode(data).ok()?).ok(),
        }
    }
}

/// Gives a file's media type and content; a `data:` URL may name the type that the part leaves open (`image/*`).
pub(crate) fn read_file(file: &FileContent) -> (String, FileData) {
    let Some(rest) = file.data.strip_prefix("data:") else {
        let is_url = file.data.starts_with("http://") || file.data.starts_with("https://");
        let data = file.data.clone();
        let data = if is_url { FileData::Url(data) } else { FileData::Base64(data) };
        return (file.media_type.clone(), data);
    };
    let (head, content) = rest.split_once(',').unwrap_or((rest, ""));
    let (named, is_base64) = head.strip_suffix(";base64").map_or((head, false), |named| (named, true));
    let named = named.split(';').next().unwrap_or_default();
    let is_open = file.media_type.is_empty() || file.media_type.ends_with("/*");
    let media_type = if is_open && !named.is_empty() { named } else { &file.media_type };
    let base64 = match is_base64 {
        true => content.to_owned(),
        false => STANDARD.encode(percent_decode_str(content).collect::<Vec<u8>>()),
    };
    (media_type.to_owned(), FileData::Base64(base64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(media_type: &str, data: &str, want_type: &str, want: FileData) {
        let file = FileContent { media_type: media_type.into(), data: data.into(), ..FileContent::default() };
        assert_eq!(read_file(&file), (want_type.to_owned(), want));
    }

    #[test]
    fn a_file_is_an_address_a_data_url_or_base64() {
        let base64 = |text: &str| FileData::Base64(text.to_owned());
        check("image/png", "https://a/b.png", "image/png", FileData::Url("https://a/b.png".to_owned()));
        check("image/png", "data:image/jpeg;base64,AAEC", "image/png", base64("AAEC"));
        check("image/*", "data:image/jpeg;base64,AAEC", "image/jpeg", base64("AAEC"));
        check("text/plain", "data:text/plain;charset=utf-8,a%20b", "text/plain", base64("YSBi"));
        check("", "data:text/plain;charset=utf-8;base64,YQ==", "text/plain", base64("YQ=="));
        check("image/png", "AAEC", "image/png", base64("AAEC"));
    }
}
