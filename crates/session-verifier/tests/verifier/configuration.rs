//! Configurations that cannot work are told apart from a service that is away.

use std::time::Duration;

use session_verifier::{TlsIdentity, Verifier, VerifierConfig};

async fn refusal(change: impl FnOnce(&mut VerifierConfig)) -> String {
    let mut config = VerifierConfig::new("https://localhost:1", "https://auth.example", "api");
    config.first_contact = Duration::ZERO;
    config.identity = Some(TlsIdentity::from_pem("", "", ""));
    change(&mut config);
    Verifier::connect(config).await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_cannot_work_is_named() {
    assert_eq!(refusal(|_| ()).await, "the identity cannot be used");
    assert_eq!(
        refusal(|config| config.addresses = " , ".to_owned()).await,
        "no address of session-service is given"
    );
    assert_eq!(
        refusal(|config| config.addresses = "https://a:1,http://b:1".to_owned()).await,
        "all addresses of session-service must begin with the same scheme"
    );
    for address in ["localhost:1", "ftp://localhost:1", "https://"] {
        let message = refusal(|config| config.addresses = address.to_owned()).await;
        assert_eq!(message, format!("{address:?} is not an address like https://host:port"));
    }
    assert_eq!(
        refusal(|config| config.identity = None).await,
        "https://localhost:1 needs an identity: session-service wants to know who calls"
    );
    assert_eq!(
        refusal(|config| config.addresses = "http://a:1".to_owned()).await,
        "http://a:1 must begin with https://, because an identity is given"
    );
    let plaintext = refusal(|config| {
        config.addresses = "http://a:1".to_owned();
        config.identity = None;
    });
    assert_eq!(
        plaintext.await,
        "http://a:1 must begin with https:// in production, unless a service mesh protects connections"
    );
    assert_eq!(
        refusal(|config| config.environment = "prod".to_owned()).await,
        "\"prod\" is neither production nor development"
    );
    assert_eq!(refusal(|config| config.audience.clear()).await, "issuer and audience must not be empty");
}

#[tokio::test]
async fn a_mesh_may_protect_plaintext() {
    let mut config = VerifierConfig::new("http://localhost:1", "https://auth.example", "api");
    config.first_contact = Duration::ZERO;
    config.service_mesh_tls = true;
    assert!(!Verifier::connect(config).await.unwrap().is_current());
}

#[test]
fn nobody_reads_the_key_in_a_log() {
    let mut config = VerifierConfig::new("https://a:1", "https://auth.example", "api");
    config.identity = Some(TlsIdentity::from_pem("ca", "certificate", "hush"));
    assert!(!format!("{config:?}").contains(&format!("{:?}", b"hush")));
    assert!(format!("{config:?}").contains("TlsIdentity { .. }"));
}
