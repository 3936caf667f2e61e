//! The archive of the audit log in a bucket, of an S3 server that somebody else wrote.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use e2e::{
    Stack, journey,
    sibling::{Service::AuditService, says},
    stack::{PATIENCE, program},
};
use reqwest::Client;
use test_support::eventually;

const SERVER: &str = "moto[server]==5.2.5";
const BUCKET: &str = "feature-auth-audit";

/// An S3 server, killed when dropped.
struct S3 {
    process: Child,
    url: String,
    http: Client,
}

impl S3 {
    async fn start() -> Self {
        let directory = tokio::task::spawn_blocking(installed).await.unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let log = fs::File::create(directory.join("log")).unwrap();
        let process = Command::new(directory.join("venv/bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        let s3 = Self { process, url: format!("http://127.0.0.1:{port}"), http };
        eventually("there is a bucket", PATIENCE, async || {
            let made = s3.http.put(format!("{}/{BUCKET}", s3.url)).send().await.ok()?;
            made.status().is_success().then_some(())
        })
        .await;
        s3
    }

    /// How many objects there are below a prefix.
    async fn objects(&self, prefix: &str) -> usize {
        let url = format!("{}/{BUCKET}?list-type=2&prefix={prefix}", self.url);
        let listing = self.http.get(url).send().await.unwrap().text().await.unwrap();
        listing.matches("<Key>").count()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // One that ended has nothing to kill.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The directory that the server is installed in, below `target/`.
fn installed() -> PathBuf {
    let languages = Command::new(program("dev-stack")).arg("install-languages").status();
    assert!(languages.expect("dev-stack must be built: use `make test`").success());
    let directory = program("..").join("s3-server");
    fs::create_dir_all(&directory).unwrap();
    let directory = directory.canonicalize().unwrap();
    let stamp = directory.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == SERVER) {
        return directory;
    }
    run(&directory, "python3", &["-m", "venv", "venv"]);
    run(&directory, "venv/bin/pip", &["install", "--quiet", "--disable-pip-version-check", SERVER]);
    fs::write(stamp, SERVER).unwrap();
    directory
}

fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new("env").arg(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_archived_in_a_bucket_and_proved_by_it() {
    test_support::install_crypto_provider();
    let s3 = S3::start().await;
    let stack = Stack::start(&[
        ("AUDIT_ARCHIVE_URL", format!("s3://{BUCKET}/log")),
        ("AUDIT_ARCHIVE_S3_ENDPOINT", s3.url.clone()),
        ("AUDIT_ARCHIVE_S3_REGION", "eu-central-1".to_owned()),
        ("AUDIT_ARCHIVE_S3_ACCESS_KEY_ID", "archivist".to_owned()),
        ("AUDIT_ARCHIVE_S3_SECRET_ACCESS_KEY", "hush".to_owned()),
    ])
    .await;
    journey::logged_in(&stack, "ada@example.com").await;
    let archived = eventually("the login is archived", PATIENCE, async || {
        let archived = says(&stack, AuditService, &["archive", "run"]);
        (s3.objects("log/events/").await > 0).then_some(archived)
    })
    .await;
    assert!(archived.contains("events") && archived.contains("archived up to seq"), "{archived}");
    eventually("a checkpoint is in the bucket", PATIENCE * 3, async || {
        (s3.objects("log/checkpoints/").await > 0).then_some(())
    })
    .await;
    let proved = says(&stack, AuditService, &["verify"]);
    assert!(
        proved.contains("the log is what was recorded") && proved.contains("the archive agrees"),
        "{proved}"
    );
}
