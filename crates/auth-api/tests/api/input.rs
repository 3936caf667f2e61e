//! Bodies and values that nobody should send.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use auth_api::domain::{display_name::DisplayName, email_address::EmailAddress};
use futures::{StreamExt, stream};
use reqwest::{Method, RequestBuilder, Response, header};
use serde_json::{Value, json};

use crate::{
    documented::{Field, Operation, address, operations},
    harness::{PASSWORD, TestApi, body, problem},
    raw_socket::KeptAlive,
};

const REFRESH: &str = "/v1/auth/refresh";
const CANARY: &str = "kanarienvogel";

#[tokio::test(flavor = "multi_thread")]
async fn inp_01_what_is_not_json_is_refused_and_not_repeated() {
    let api = TestApi::start().await;
    let mut connection = KeptAlive::open(&api).await;
    let good = format!(r#"{{"refreshToken":"{CANARY}"}}"#);
    let mut corpus: Vec<Vec<u8>> = (0..good.len()).map(|length| good.as_bytes()[..length].to_vec()).collect();
    corpus.extend(
        [
            "  ",
            "null",
            "true",
            "0",
            "[]",
            "[{}]",
            "\"kanarienvogel\"",
            "kanarienvogel",
            "{\"refreshToken\":\"kanarienvogel\"} x",
            "{\"refreshToken\":\"kanarienvogel\"}{}",
            "{\"refreshToken\":\"kanarienvogel\"}\0",
            "{\"refreshToken\":\"kanarienvogel\",}",
            "{'refreshToken':'kanarienvogel'}",
            "{refreshToken:\"kanarienvogel\"}",
            "{\"refreshToken\":\"kanarien\nvogel\"}",
            "{\"refreshToken\":\"kanarienvogel\\ud800\"}",
            "{\"refreshToken\":\"kanarienvogel\\x\"}",
            "{\"refreshToken\":NaN}",
            "{\"refreshToken\":1e999}",
            "/* kanarienvogel */ {}",
            "\u{feff}{\"refreshToken\":\"kanarienvogel\"}",
            "<xml>kanarienvogel</xml>",
            "refreshToken=kanarienvogel",
        ]
        .map(|text| text.as_bytes().to_vec()),
    );
    corpus.push(b"{\"refreshToken\":\"kanarienvogel\xff\"}".to_vec());
    corpus.push(b"\xff\xfe{\0}\0".to_vec());
    corpus.push(b"{\"refreshToken\":\"\xc0\xaf\"}".to_vec());
    corpus.push(b"{\"refreshToken\":\"\xed\xa0\x80\"}".to_vec());
    for body in corpus {
        // The same connection each time: a refusal leaves it usable.
        let (status, answer) = connection.post(REFRESH, &body).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 400, "{text:?} -> {answer}");
        assert!(answer.contains("application/problem+json"), "{text:?} -> {answer}");
        assert!(!answer.contains(CANARY), "{text:?} -> {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_01_ten_thousand_mutilated_bodies_are_refused() {
    let api = TestApi::start().await;
    let good = br#"{"refreshToken":"far_AQGZ8rR6HH0","x":[1,-2.5e3,null,true,{"y":"\u00e4"}]}"#;
    let send = |seed: u64| {
        let request =
            json_post(&api, REFRESH).header("x-forwarded-for", address(usize::try_from(seed).unwrap()));
        let body = mutilated(good, seed);
        async move { (request.body(body.clone()).send().await.unwrap(), body) }
    };
    stream::iter(0..10_000)
        .map(send)
        .buffer_unordered(16)
        .for_each(async |(answer, body)| {
            // 401: it is still JSON with a refresh token.
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(matches!(answer.status().as_u16(), 400 | 401), "{text:?} -> {answer:?}");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{text:?}");
        })
        .await;
}

/// `good` after one to four changes; the same ones for the same seed.
fn mutilated(good: &[u8], seed: u64) -> Vec<u8> {
    const SPECIAL: &[u8] = b"{}[]\",:\\ \0\n\r\t0-+.eEnulltrue/\x7f\x80\xff\xed\xa0\xef\xbb\xbf";
    // SplitMix64.
    let mut state = seed;
    let mut below = |limit: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    };
    let mut body = good.to_vec();
    for _ in 0..=below(4) {
        let at = below(body.len().max(1)).min(body.len().saturating_sub(1));
        let special = SPECIAL[below(SPECIAL.len())];
        match below(5) {
            0 => body.truncate(at),
            1 => body.insert(at, special),
            2 if !body.is_empty() => body[at] = special,
            3 if !body.is_empty() => drop(body.remove(at)),
            _ => body.extend_from_within(at..),
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_02_bombs_cost_little() {
    let api = TestApi::start().await;
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{{\"refreshToken\":{}1{}}}", open.repeat(depth), close.repeat(depth))
    };
    let keys = |count: usize| {
        let keys: Vec<String> = (0..count).map(|number| format!("\"k{number}\":1")).collect();
        format!("{{{}}}", keys.join(","))
    };
    let bombs = [
        (nested("[", "]", 10_000), 413),
        (nested("[", "]", 8_000), 400),
        (nested("{\"a\":", "}", 2_000), 400),
        (nested("[", "]", 200), 400),
        ("[".repeat(16_000), 400),
        ("{\"a\":".repeat(3_000), 400),
        (keys(1_000_000), 413),
        (keys(1_500), 400),
        (format!("{{\"refreshToken\":{}}}", "9".repeat(100_000)), 413),
        (format!("{{\"refreshToken\":{}}}", "9".repeat(16_000)), 400),
        (format!("{{\"refreshToken\":1e{}}}", "9".repeat(16_000)), 400),
        (format!("{{\"refreshToken\":\"{}\"}}", "\\u0041".repeat(2_700)), 401),
        (format!("{{\"refreshToken\":\"{}", "\\u0000".repeat(2_700)), 400),
        (format!("{{\"refreshToken\":\"{}\"}}", "\\".repeat(16_000)), 401),
        (" ".repeat(16_384), 400),
    ];
    for (number, (bomb, status)) in bombs.into_iter().enumerate() {
        let mut fastest = Duration::MAX;
        for attempt in 0..10 {
            let request = json_post(&api, REFRESH).header("x-forwarded-for", address(number * 10 + attempt));
            let started = Instant::now();
            let answer = request.body(bomb.clone()).send().await.unwrap();
            fastest = fastest.min(started.elapsed());
            assert_eq!(answer.status(), status, "{}…", &bomb[..40]);
        }
        // A million keys take a while to be sent; they are not read.
        let limit = if bomb.len() > 1_000_000 { 200 } else { 20 };
        assert!(fastest < Duration::from_millis(limit), "{}… took {fastest:?}", &bomb[..40]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_04_compressed_bodies_are_refused() {
    let api = TestApi::start().await;
    for encoding in [
        "gzip",
        "x-gzip",
        "br",
        "deflate",
        "zstd",
        "compress",
        "gzip, gzip",
        "identity, gzip",
        "GZIP",
        "unknown",
    ] {
        let request = json_post(&api, REFRESH).header(header::CONTENT_ENCODING, encoding);
        // The beginning of a gzip stream: nobody looks at it.
        let answer = request.body(b"\x1f\x8b\x08\0\0\0\0\0".to_vec()).send().await.unwrap();
        problem(answer, 415, "unsupported_media_type").await;
    }
    let request = json_post(&api, REFRESH).header(header::CONTENT_ENCODING, "identity");
    problem(request.body("{").send().await.unwrap(), 400, "malformed_json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_05_only_json_in_utf_8_is_read() {
    let api = TestApi::start().await;
    let post = |content_type: &str| {
        let request = api.request(Method::POST, REFRESH).body(r#"{"refreshToken":"x"}"#);
        if content_type.is_empty() { request } else { request.header(header::CONTENT_TYPE, content_type) }
    };
    for refused in [
        "",
        "text/plain",
        "text/plain; charset=utf-8",
        "text/json",
        "text/html",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonp",
        "application/json-patch+json",
        "application/problem+json",
        "application/vnd.api+json",
        "application/octet-stream",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/json; charset=",
        "application/json; charset=utf-8; charset=latin1",
        "application/json, text/plain",
        "text/plain, application/json",
        "application/json text/plain",
        "application / json",
        "*/*",
        "json",
    ] {
        let answer = post(refused).send().await.unwrap();
        assert_eq!(answer.status(), 415, "{refused}");
        problem(answer, 415, "unsupported_media_type").await;
    }
    for accepted in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        assert_eq!(post(accepted).send().await.unwrap().status(), 401, "{accepted}");
    }
    let twice = post("application/json").header(header::CONTENT_TYPE, "text/plain");
    assert_eq!(twice.send().await.unwrap().status(), 415);
    let token = logged_in(&api).await;
    for (number, operation) in with_bodies(&api).await.iter().enumerate() {
        let request = operation.request(&api, &token, number).header(header::CONTENT_TYPE, "text/plain");
        let answer = request.body(Value::from(operation.example()).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 415, "{} {}", operation.method, operation.template);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inp_06_values_of_another_type_are_refused_by_name() {
    let api = TestApi::start().await;
    let token = logged_in(&api).await;
    let mut tried = 0;
    for operation in with_bodies(&api).await {
        let what = format!("{} {}", operation.method, operation.template);
        for field in operation.fields.iter().flatten() {
            for value in of_other_types(field) {
                let mut body = operation.example();
                body.insert(field.name.clone(), value.clone());
                tried += 1;
                let request = operation.request(&api, &token, tried).json(&body);
                refused_by_name(
                    request.send().await.unwrap(),
                    &field.name,
                    "invalid_type",
                    &format!("{what} {value}"),
                )
                .await;
            }
        }
        for unknown in ["isAdmin", "roles", "__proto__", "id"] {
            let mut body = operation.example();
            if body.contains_key(unknown) {
                continue;
            }
            body.insert(unknown.to_owned(), json!(true));
            tried += 1;
            let request = operation.request(&api, &token, tried).json(&body);
            refused_by_name(request.send().await.unwrap(), unknown, "unknown_field", &what).await;
        }
    }
    assert!(tried > 50, "{tried}");
}

async fn refused_by_name(answer: Response, field: &str, code: &str, what: &str) {
    let status = answer.status();
    let problem = body(answer).await;
    let error = &problem["errors"][0];
    assert_eq!(status, 400, "{what}: {field} -> {problem}");
    assert_eq!((&error["field"], &error["code"]), (&json!(field), &json!(code)), "{what} -> {problem}");
}

/// One value of each JSON type that the field may not have.
fn of_other_types(field: &Field) -> Vec<Value> {
    let may_be = |json_type: &str| field.types.iter().any(|allowed| allowed == json_type);
    let number = may_be("integer") || may_be("number");
    [
        (!may_be("string"), json!("text")),
        (!number, json!(7)),
        (!number, json!(-1.5)),
        (!may_be("boolean"), json!(true)),
        (!may_be("array"), json!([])),
        (!may_be("array"), json!(["text"])),
        (!may_be("object"), json!({})),
        (!may_be("object"), json!({"$ne": ""})),
        (field.is_required && !may_be("null"), Value::Null),
    ]
    .into_iter()
    .filter_map(|(is_other, value)| is_other.then_some(value))
    .collect()
}

/// Characters that databases, terminals and people stumble over.
fn special_characters() -> BTreeSet<char> {
    let ranges = [
        0x00..=0x1f,
        0x7f..=0x9f,
        0xad..=0xad,
        0x300..=0x305,
        0x34f..=0x34f,
        0x61c..=0x61c,
        0x115f..=0x1160,
        0x17b4..=0x17b5,
        0x180b..=0x180f,
        0x2000..=0x200f,
        0x2028..=0x202f,
        0x205f..=0x206f,
        0x3000..=0x3000,
        0x3164..=0x3164,
        0xe000..=0xe005,
        0xfdd0..=0xfdef,
        0xfe00..=0xfe0f,
        0xfeff..=0xfeff,
        0xffa0..=0xffa0,
        0xfff0..=0xffff,
        0x1d173..=0x1d17a,
        0xe0001..=0xe0001,
        0xe0020..=0xe007f,
        0x10_fffe..=0x10_ffff,
    ];
    ranges.into_iter().flatten().filter_map(char::from_u32).collect()
}

#[test]
fn inp_08_addresses_and_names_have_no_special_characters() {
    let special = special_characters();
    assert!(special.len() > 232, "{}", special.len());
    for character in special {
        for email in [format!("a{character}b@example.test"), format!("ab@exa{character}mple.test")] {
            let parsed = EmailAddress::parse(&email);
            // What a domain's mapping drops or maps away (UTS 46) is not in the address that is kept.
            let kept = parsed.is_ok_and(|parsed| parsed.as_str().contains(character));
            assert!(!kept, "{email:?}");
        }
        assert!(EmailAddress::parse(&format!("a{character}b@example.test")).is_err(), "{character:?}");
        if character.is_control() {
            assert!(DisplayName::parse(&format!("a{character}b")).is_err(), "{character:?}");
        }
    }
}

/// Every text field, query parameter and path parameter that there is.
#[tokio::test(flavor = "multi_thread")]
async fn inp_08_no_text_is_an_internal_error() {
    let api = TestApi::start().await;
    let token = logged_in(&api).await;
    let control: String = (1..0x20).filter_map(char::from_u32).collect();
    let all: String = special_characters().into_iter().filter(|character| *character != '\0').collect();
    let texts = [
        "",
        "\0",
        "a\0b@example.test",
        &control,
        &all,
        "\u{7f}\u{85}\u{9f}",
        "\u{2028}\u{2029}",
        "\u{202e}gnp.exe",
        "\u{200b}\u{200d}\u{feff}",
        "\u{ffff}\u{10ffff}",
        &"e\u{301}".repeat(200),
        &"a".repeat(9_000),
        "' OR 1=1 --",
        "%00",
    ];
    let mut tried = 0;
    for operation in operations(&api).await {
        let what = format!("{} {}", operation.method, operation.template);
        let is_text = |field: &&Field| field.types.iter().any(|json_type| json_type == "string");
        for field in operation.fields.iter().flatten().filter(is_text) {
            for text in texts {
                let mut body = operation.example();
                body.insert(field.name.clone(), json!(text));
                tried += 1;
                let answer = operation.request(&api, &token, tried).json(&body).send().await.unwrap();
                assert!(answer.status().as_u16() < 500, "{what}: {}={text:?} -> {answer:?}", field.name);
            }
        }
        // A lone surrogate can only be written as an escape.
        if let Some(field) = operation.fields.iter().flatten().find(is_text) {
            let escaped = format!(r#"{{"{}":"\ud800"}}"#, field.name);
            tried += 1;
            let request =
                operation.request(&api, &token, tried).header(header::CONTENT_TYPE, "application/json");
            assert_eq!(request.body(escaped).send().await.unwrap().status(), 400, "{what}");
        }
        for name in &operation.query {
            for text in texts {
                tried += 1;
                let query =
                    url::form_urlencoded::Serializer::new(String::new()).append_pair(name, text).finish();
                let path = format!("{}?{query}", operation.path());
                let answer = operation.request_to(&api, &path, &token, tried).send().await.unwrap();
                // 503: the audit log is away in these tests.
                let is_fine =
                    answer.status().as_u16() < 500 || (answer.status() == 503 && path.contains("/activity"));
                assert!(is_fine, "{what}: {name}={text:?} -> {answer:?}");
            }
        }
        if operation.template.contains('{') {
            for text in ["%00", "%01", "%ff", "%c0%af", "%E2%80%A8", "%27", "..", "-1"] {
                let path = operation.path().replace("0199f2b4-7a1c-7d3e-8f00-3b1f0c9d2e4a", text);
                let request = operation.request_to(&api, &path, &token, tried).json(&operation.example());
                let answer = request.send().await.unwrap();
                assert!(answer.status().as_u16() < 500, "{what}: {path} -> {answer:?}");
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

async fn with_bodies(api: &TestApi) -> Vec<Operation> {
    let mut operations = operations(api).await;
    operations.retain(|operation| operation.fields.is_some());
    assert!(operations.len() >= 5);
    operations
}

fn json_post(api: &TestApi, path: &str) -> RequestBuilder {
    api.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json")
}

/// An access token of an account of its own.
async fn logged_in(api: &TestApi) -> String {
    api.verified_account("input@example.test").await;
    let tokens = body(api.login("input@example.test", PASSWORD).await).await;
    tokens["accessToken"].as_str().unwrap().to_owned()
}
