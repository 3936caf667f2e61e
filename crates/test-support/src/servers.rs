//! Where the servers are.

use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// The Redis of the tests, which share it; see [`redis_prefix`].
#[must_use]
pub fn redis_url() -> SecretString {
    url("TEST_REDIS_URL").to_string().into()
}

/// A prefix for keys and channels that no other test uses.
#[must_use]
pub fn redis_prefix() -> String {
    format!("test:{}:", Uuid::new_v4().simple())
}

/// Makes ring the provider of rustls, as the first line of each `main` does; later calls change nothing.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(crate) fn url(variable: &str) -> Url {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
    let value = std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: use `make test`, or `cargo run -p dev-stack -- with-servers -- cargo test …`")
    });
    value.parse().unwrap_or_else(|error| panic!("{variable} is not a URL: {error}"))
}

/// Does asynchronous work to the end inside `drop`, where the runtime of the test cannot be awaited.
pub(crate) fn finish(work: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work);
    });
    // A failure to tidy up must not hide the failure of the test.
    if thread.join().is_err() {
        eprintln!("could not tidy up after the test");
    }
}
