use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web::BytesMut,
};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use service_error::FieldError;

use super::{ApiError, MAX_BODY_BYTES, deadline::WorkClock, edge_error::EdgeError, idempotency::BodyDigest};

const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The validating JSON body: declared as JSON, at most [`MAX_BODY_BYTES`], arrived within ten seconds, without unknown or duplicate fields (the type must say
/// `deny_unknown_fields`). What is wrong is said with the name of the field and without repeating its value.
pub struct ValidJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest for ValidJson<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            check_headers(request.headers())?;
            let clock = request.extensions().get::<WorkClock>().cloned();
            if let Some(clock) = &clock {
                clock.stop();
            }
            let read = tokio::time::timeout(BODY_DEADLINE, read(payload)).await;
            if let Some(clock) = &clock {
                clock.restart();
            }
            let body = read.map_err(|_| EdgeError::IncompleteBody)??;
            request.extensions_mut().insert(BodyDigest::of(&body));
            Ok(Self(parse(&body)?))
        })
    }
}

/// A [`ValidJson`] body that may be missing altogether.
pub struct OptionalJson<T>(pub Option<T>);

impl<T: DeserializeOwned + 'static> FromRequest for OptionalJson<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let headers = request.headers();
        let is_missing = !headers.contains_key(header::TRANSFER_ENCODING)
            && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0");
        let body = (!is_missing).then(|| ValidJson::<T>::from_request(request, payload));
        Box::pin(async move {
            Ok(Self(match body {
                Some(body) => Some(body.await?.0),
                None => None,
            }))
        })
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), EdgeError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_ambiguous = headers.get_all(header::CONTENT_TYPE).nth(1).is_some();
    let is_encoded = !matches!(text(header::CONTENT_ENCODING), "" | "identity");
    let mut parts = text(header::CONTENT_TYPE).split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| parameter.replace('"', "").eq_ignore_ascii_case("charset=utf-8"));
    if is_encoded || is_ambiguous || !is_json {
        return Err(EdgeError::UnsupportedMediaType);
    }
    let length = text(header::CONTENT_LENGTH).parse::<usize>().unwrap_or(0);
    if length > MAX_BODY_BYTES { Err(EdgeError::PayloadTooLarge) } else { Ok(()) }
}

async fn read(mut payload: Payload) -> Result<BytesMut, EdgeError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| EdgeError::IncompleteBody)?;
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(EdgeError::PayloadTooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, EdgeError> {
    // serde would also fill a struct from an array; only objects are part of the contract.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(EdgeError::MalformedJson);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| explain(&error))?;
    deserializer.end().map_err(|_| EdgeError::MalformedJson)?;
    Ok(value)
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> EdgeError {
    if !error.inner().is_data() {
        return EdgeError::MalformedJson;
    }
    let message = error.inner().to_string();
    let named = |prefix: &str| message.strip_prefix(prefix)?.split('`').next().map(str::to_owned);
    let field_error = if let Some(field) = named("unknown field `") {
        FieldError::new(
            field.chars().take(100).collect::<String>(),
            "unknown_field",
            "This field is not known.",
        )
    } else if let Some(field) = named("duplicate field `") {
        FieldError::new(field, "duplicate_field", "This field is given twice.")
    } else if let Some(field) = named("missing field `") {
        FieldError::new(field, "missing_field", "This field is required.")
    } else {
        FieldError::new(error.path().to_string(), "invalid_type", "This field has a value of another type.")
    };
    EdgeError::InvalidFields(vec![field_error])
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Example {
        first_name: String,
        #[serde(default)]
        #[expect(dead_code, reason = "only its type matters")]
        nested: Option<Nested>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        #[expect(dead_code, reason = "only its type matters")]
        count: u8,
    }

    fn refusal(body: &str) -> (String, String) {
        match parse::<Example>(body.as_bytes()).unwrap_err() {
            EdgeError::InvalidFields(errors) => (errors[0].field.clone(), errors[0].code.clone()),
            other => (String::new(), other.to_string()),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse::<Example>(br#"{"firstName":"Ada"}"#).unwrap().first_name, "Ada");
        for (body, field, code) in [
            (r#"{"firstName":"a","role":"admin"}"#, "role", "unknown_field"),
            (r#"{"firstName":"a","firstName":"b"}"#, "firstName", "duplicate_field"),
            (r"{}", "firstName", "missing_field"),
            (r#"{"firstName":7}"#, "firstName", "invalid_type"),
            (r#"{"firstName":null}"#, "firstName", "invalid_type"),
            (r#"{"firstName":"a","nested":{"count":300}}"#, "nested.count", "invalid_type"),
            (r#"{"firstName":"a","nested":{"count":1,"x":2}}"#, "x", "unknown_field"),
        ] {
            assert_eq!(refusal(body), (field.to_owned(), code.to_owned()), "{body}");
        }
    }

    #[test]
    fn what_is_not_a_json_object_is_malformed() {
        let deep = format!(r#"{{"firstName":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        for body in [
            "",
            "  ",
            "null",
            "[\"Ada\"]",
            "{",
            r#"{"firstName":"a"} x"#,
            "{'firstName':1}",
            "\u{feff}{}",
            &deep,
        ] {
            let refused = parse::<Example>(body.as_bytes()).unwrap_err();
            assert!(matches!(refused, EdgeError::MalformedJson | EdgeError::InvalidFields(_)), "{body}");
        }
    }
}
