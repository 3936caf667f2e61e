//! The programs in `docs/VALIDATE.md` do what the page says.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use auth_proto::session::v1::{CreateSessionRequest, Subject, Tokens};
use e2e::{
    Stack,
    grpc::{self, As},
    journey::{self, text},
    stack::program,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A program of the page.
struct Snippet {
    heading: &'static str,
    language: &'static str,
    file: &'static str,
    interpreter: &'static str,
}

const SNIPPETS: [Snippet; 2] = [
    Snippet { heading: "Python", language: "python", file: "validate.py", interpreter: ".venv/bin/python" },
    Snippet { heading: "Node.js", language: "js", file: "validate.js", interpreter: "node" },
];

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_of_the_page_tell_good_tokens_from_others() {
    let snippets = tokio::task::spawn_blocking(prepared).await.unwrap();
    let stack = Stack::start(&[]).await;
    let plain = journey::logged_in(&stack, "ada@example.com").await;
    let me: Value = journey::me(&stack, text(&plain, "accessToken")).await.json().await.unwrap();
    let user = text(&me, "id");
    let granted = session_with(&stack, user, &["reports.export", "reports.read"]).await;

    for (snippet, directory) in &snippets {
        let run = |token: &str| run(snippet, directory, &stack, token);
        let good = (0, format!("active: user {user} may reports.export, reports.read\n"));
        assert_eq!(run(&granted.access_token), good, "{}", snippet.heading);
        let unmet = (1, "inactive: INACTIVE_REASON_MISSING_PERMISSION\n".to_owned());
        assert_eq!(run(text(&plain, "accessToken")), unmet, "{}", snippet.heading);
        let invalid = (1, "inactive: INACTIVE_REASON_INVALID\n".to_owned());
        assert_eq!(run("v4.public.forged"), invalid, "{}", snippet.heading);
    }

    let logout = stack.post("/v1/auth/logout", &json!({"refreshToken": granted.refresh_token})).await;
    assert_eq!(logout.status(), StatusCode::OK);
    for (snippet, directory) in &snippets {
        let revoked = (1, "inactive: INACTIVE_REASON_REVOKED\n".to_owned());
        assert_eq!(run(snippet, directory, &stack, &granted.access_token), revoked, "{}", snippet.heading);
    }
}

/// Begins a session with permissions that no shipped role has, as only auth-api may.
async fn session_with(stack: &Stack, user: &str, permissions: &[&str]) -> Tokens {
    let request = CreateSessionRequest {
        subject: Some(Subject {
            user_id: user.to_owned(),
            roles: vec!["user".to_owned()],
            permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
        }),
        amr: vec!["pwd".to_owned()],
        aal: 1,
        ..CreateSessionRequest::default()
    };
    let created = grpc::sessions(stack, As::AuthApi).create_session(request).await.unwrap();
    created.into_inner().tokens.unwrap()
}

/// Every snippet, with what it needs, in a directory of its own below `target/`.
fn prepared() -> Vec<(Snippet, PathBuf)> {
    let installed = Command::new(program("dev-stack")).arg("install-languages").status();
    assert!(installed.expect("dev-stack must be built: use `make test`").success());
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let page = fs::read_to_string(repository.join("docs/VALIDATE.md")).unwrap();
    SNIPPETS
        .into_iter()
        .map(|snippet| {
            let directory = prepare(&snippet, &page, &repository.join("proto"));
            (snippet, directory)
        })
        .collect()
}

/// Follows the page's own instructions, unless exactly these have been followed here before.
fn prepare(snippet: &Snippet, page: &str, proto: &Path) -> PathBuf {
    let directory = program("..").join("snippets").join(snippet.language);
    fs::create_dir_all(&directory).unwrap();
    let directory = directory.canonicalize().unwrap();
    let section = section(page, snippet.heading);
    fs::write(directory.join(snippet.file), block(section, snippet.language)).unwrap();
    fs::remove_file(directory.join("proto")).ok();
    std::os::unix::fs::symlink(proto, directory.join("proto")).unwrap();

    let setup = block(section, "sh");
    let definitions = fs::read_to_string(proto.join("feature_auth/session/v1/session.proto")).unwrap();
    let (stamp, wanted) = (directory.join("prepared"), format!("{setup}\n{definitions}"));
    if fs::read_to_string(&stamp).is_ok_and(|done| done == wanted) {
        return directory;
    }
    fs::remove_file(&stamp).ok();
    let output = Command::new("sh").args(["-euc", setup]).current_dir(&directory).output().unwrap();
    assert!(output.status.success(), "{}: {}", snippet.heading, printed(&output));
    fs::write(stamp, wanted).unwrap();
    directory
}

/// What stands under a heading of the third level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n### {heading}\n")).expect("the heading is on the page");
    rest.split_once("\n### ").map_or(rest, |(section, _)| section)
}

/// The first block of code in a language.
fn block<'a>(section: &'a str, language: &str) -> &'a str {
    let (_, rest) = section.split_once(&format!("\n```{language}\n")).expect("there is such a block");
    rest.split_once("\n```").expect("the block ends").0
}

/// The exit code and what was printed.
fn run(snippet: &Snippet, directory: &Path, stack: &Stack, token: &str) -> (i32, String) {
    let address = stack.variable("SESSION_GRPC").replace("127.0.0.1", "localhost");
    let mut child = Command::new(snippet.interpreter)
        .arg(snippet.file)
        .current_dir(directory)
        .env("SESSION_SERVICE", address)
        .env("TLS_CA", stack.variable("TLS_CA"))
        .env("TLS_CERT", stack.variable("TLS_CLIENT_CERT"))
        .env("TLS_KEY", stack.variable("TLS_CLIENT_KEY"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    assert!(matches!(code, 0 | 1), "{}: {}", snippet.heading, printed(&output));
    (code, String::from_utf8(output.stdout).unwrap())
}

fn printed(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream).into_owned());
    format!("{}\n{}", output.status, streams.join("\n"))
}
