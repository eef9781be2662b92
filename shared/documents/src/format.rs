//! In which language a document is written.

use vocabulary::Problem;

/// The two languages of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 8259.
    Json,
    /// YAML 1.2, core schema, one document, without anchors and tags.
    Yaml,
}

impl Format {
    /// The format of a `Content-Type` header; its parameters are ignored.
    ///
    /// # Errors
    /// 415 when the header is absent or names something else.
    pub fn of_content_type(header: Option<&str>) -> Result<Self, Problem> {
        let media = header.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media.as_str() {
            "application/json" => Ok(Self::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Self::Yaml),
            _ => {
                let received = if media.is_empty() { "none".to_owned() } else { format!("'{media}'") };
                let detail = format!("content type {received}: send application/json or application/yaml");
                Err(Problem::new(415, "UnsupportedMediaType", detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_read_with_parameters_and_any_case() {
        assert_eq!(Format::of_content_type(Some("Application/JSON; charset=utf-8")), Ok(Format::Json));
        assert_eq!(Format::of_content_type(Some("text/yaml")), Ok(Format::Yaml));
        for other in [None, Some(""), Some("application/x-www-form-urlencoded")] {
            assert_eq!(Format::of_content_type(other).unwrap_err().status, 415);
        }
    }
}
