//! Who may call what, proved by certificates.

use auth_proto::session::v1::{
    ElevateSessionRequest, GetPublicKeysRequest, ListSessionsRequest, RefreshRequest, RevokeSessionRequest,
    RevokeUserSessionsRequest, RotateKeysRequest, TouchRequest, UpdateUserClaimsRequest,
    ValidateBatchRequest, ValidateRequest, WatchRevocationsRequest,
    session_service_client::SessionServiceClient,
};
use dev_stack::certificates::DevelopmentCa;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use service_runtime::{TlsIdentity, Transport};
use test_support::{TestDatabase, eventually};
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use crate::harness::{Client, DEADLINE, Running, Setup, facts, login, new_database, new_user, query, reason};

fn client(ca: &DevelopmentCa, service: &Running, role: Option<&str>) -> Client {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.ca_pem())).domain_name("localhost");
    if let Some(role) = role {
        let leaf = ca.issue(role).unwrap();
        tls = tls.identity(Identity::from_pem(leaf.cert_pem, leaf.key_pem));
    }
    let address = format!("https://{}", service.address);
    let endpoint = Channel::from_shared(address).unwrap().tls_config(tls).unwrap();
    SessionServiceClient::new(endpoint.connect_lazy())
}

/// The code of each method, when `client` calls it with nothing.
async fn codes(mut client: Client) -> Vec<(&'static str, Code)> {
    let mut codes = Vec::new();
    macro_rules! call {
        ($($name:literal $method:ident($request:expr);)+) => {$(
            let code = client.$method($request).await.err().map_or(Code::Ok, |status| status.code());
            codes.push(($name, code));
        )+};
    }
    call! {
        "CreateSession" create_session(login(&new_user()));
        "Validate" validate(ValidateRequest::default());
        "ValidateBatch" validate_batch(ValidateBatchRequest { requests: vec![ValidateRequest::default()] });
        "Touch" touch(TouchRequest::default());
        "WatchRevocations" watch_revocations(WatchRevocationsRequest {});
        "GetPublicKeys" get_public_keys(GetPublicKeysRequest {});
        "ListSessions" list_sessions(ListSessionsRequest { user_id: new_user() });
        "Refresh" refresh(RefreshRequest::default());
        "RevokeSession" revoke_session(RevokeSessionRequest::default());
        "RevokeUserSessions" revoke_user_sessions(RevokeUserSessionsRequest::default());
        "ElevateSession" elevate_session(ElevateSessionRequest::default());
        "UpdateUserClaims" update_user_claims(UpdateUserClaimsRequest::default());
        "RotateKeys" rotate_keys(RotateKeysRequest { reason: "NO CODE".to_owned(), ..Default::default() });
    }
    codes
}

/// The methods that `client` may call, whatever becomes of the call.
async fn admitted(client: Client) -> Vec<&'static str> {
    let codes = codes(client).await;
    codes.into_iter().filter(|(_, code)| *code != Code::PermissionDenied).map(|(name, _)| name).collect()
}

async fn over_tls(database: &TestDatabase, ca: &DevelopmentCa) -> Running {
    let leaf = ca.issue("session-service").unwrap();
    let transport = Transport::MutualTls(TlsIdentity {
        ca: ca.ca_pem().into_bytes(),
        certificate: leaf.cert_pem.into_bytes(),
        key: leaf.key_pem.into_bytes(),
    });
    let service = Setup { transport, ..Setup::on(database) }.start_ready().await;
    // A watch is refused while nothing is known of revocations, and that is no question of rights.
    let watcher = client(ca, &service, Some("auth-api"));
    eventually("the replica to know what was revoked", DEADLINE, || async {
        watcher.clone().watch_revocations(WatchRevocationsRequest {}).await.ok()
    })
    .await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_02_each_role_may_call_its_methods_and_no_others() {
    let database = new_database().await;
    let ca = DevelopmentCa::generate().unwrap();
    let service = over_tls(&database, &ca).await;

    let verifiers = ["Validate", "ValidateBatch", "Touch", "WatchRevocations", "GetPublicKeys"];
    let (all, operators): (Vec<_>, _) =
        (codes(client(&ca, &service, Some("auth-api"))).await, vec!["GetPublicKeys", "RotateKeys"]);
    let refused: Vec<_> = all.iter().filter(|(_, code)| *code == Code::PermissionDenied).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let table: [(&str, &[&str]); 6] = [
        ("internal/billing", &verifiers),
        ("internal", &verifiers),
        ("operator", &operators),
        ("mailer", &[]),
        ("audit-service", &[]),
        ("session-service", &[]),
    ];
    let mut denied = 0;
    for (role, expected) in table {
        assert_eq!(admitted(client(&ca, &service, Some(role))).await, expected, "{role}");
        denied += all.len() - expected.len();
    }
    let answer = client(&ca, &service, Some("mailer")).validate(ValidateRequest::default()).await;
    assert_eq!(reason(&answer.unwrap_err()), (Code::PermissionDenied, "caller_not_allowed".to_owned()));

    // The same call was told a moment before.
    let told = eventually("the refused calls to be told", DEADLINE, || async {
        let told = facts(&database, "auth.system.access_denied").await;
        (told.len() == denied).then_some(told)
    })
    .await;
    assert!(told.iter().all(|fact| fact["data"]["outcome"] == "denied"));
    let creations = told.iter().filter(|fact| {
        fact["data"]["actor"]["name"] == "internal/billing"
            && fact["data"]["detail"]["method"] == "/feature_auth.session.v1.SessionService/CreateSession"
    });
    assert_eq!(creations.count(), 1);
    let sessions = query(&database, "SELECT count(*)::text AS text FROM sessions").await;
    assert_eq!(sessions, ["1"], "auth-api's own; nothing was executed for anybody else");
}

/// A leaf for `uri` under `ca`, valid from `begin` to `end` (years).
fn leaf(ca: &CertifiedIssuer<'_, KeyPair>, uri: &str, begin: i32, end: i32) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date_time_ymd(begin, 1, 1), date_time_ymd(end, 1, 1));
    let certificate = params.signed_by(&key, ca).unwrap();
    Identity::from_pem(certificate.pem(), key.serialize_pem())
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_01_nothing_is_done_for_whoever_cannot_prove_a_role() {
    let database = new_database().await;
    let (ours, strangers) = (authority(), authority());
    let server_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://feature-auth/session-service".try_into().unwrap()));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let server = params.signed_by(&server_key, &ours).unwrap();
    let transport = Transport::MutualTls(TlsIdentity {
        ca: ours.pem().into_bytes(),
        certificate: server.pem().into_bytes(),
        key: server_key.serialize_pem().into_bytes(),
    });
    let service = Setup { transport, ..Setup::on(&database) }.start_ready().await;
    let address = format!("https://{}", service.address);
    let create = async |identity: Option<Identity>| {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ours.pem())).domain_name("localhost");
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        let endpoint = Channel::from_shared(address.clone()).unwrap().tls_config(tls).unwrap();
        let mut client = SessionServiceClient::new(endpoint.connect_lazy());
        client.create_session(login(&new_user())).await.map(|_| ())
    };
    let good = "spiffe://feature-auth/auth-api";
    create(Some(leaf(&ours, good, 2020, 2050))).await.unwrap();

    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = vec![SanType::URI(good.try_into().unwrap())];
        Identity::from_pem(params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    for (name, identity) in [
        ("no certificate", None),
        ("another authority", Some(leaf(&strangers, good, 2020, 2050))),
        ("expired", Some(leaf(&ours, good, 2020, 2021))),
        ("not valid yet", Some(leaf(&ours, good, 2049, 2050))),
        ("self-signed", Some(self_signed)),
        ("another trust domain", Some(leaf(&ours, "spiffe://elsewhere/auth-api", 2020, 2050))),
        ("a role below ours", Some(leaf(&ours, "spiffe://feature-auth/auth-api/a/b", 2020, 2050))),
        ("an unknown role", Some(leaf(&ours, "spiffe://feature-auth/auth-api2", 2020, 2050))),
    ] {
        let code = create(identity).await.unwrap_err().code();
        // tonic calls a handshake that failed what its moment was.
        let refused = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::PermissionDenied];
        assert!(refused.contains(&code), "{name}: {code:?}");
    }
    let sessions = query(&database, "SELECT count(*)::text AS text FROM sessions").await;
    assert_eq!(sessions, ["1"]);
}
