//! Who may ask about mails.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use auth_proto::mailer::v1::{
    CancelRequest, GetMessageRequest, ListDeadLettersRequest, ListMessagesRequest, ProviderStatusRequest,
    RedriveRequest, RenderPreviewRequest, RetryRequest, SendTestRequest,
    mailer_service_client::MailerServiceClient,
};
use clock::SystemClock;
use dev_stack::certificates::DevelopmentCa;
use service_runtime::{TlsIdentity, Transport, grpc::connect_lazy};
use tonic::{Code, Request, Status};

use crate::lanes::Surroundings;

fn identity(ca: &DevelopmentCa, role: &str) -> TlsIdentity {
    let leaf = ca.issue(role).unwrap();
    TlsIdentity { ca: ca.ca_pem().into(), certificate: leaf.cert_pem.into(), key: leaf.key_pem.into() }
}

fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(10));
    request
}

/// Every method, with a request that changes nothing.
async fn call(address: SocketAddr, caller: TlsIdentity) -> [Result<(), Status>; 9] {
    let address = format!("https://{address}").parse().unwrap();
    let mut client = MailerServiceClient::new(connect_lazy(&address, &Transport::MutualTls(caller)).unwrap());
    [
        client.list_messages(patient(ListMessagesRequest::default())).await.map(drop),
        client.list_dead_letters(patient(ListDeadLettersRequest::default())).await.map(drop),
        client.provider_status(patient(ProviderStatusRequest::default())).await.map(drop),
        client.get_message(patient(GetMessageRequest::default())).await.map(drop),
        client.retry(patient(RetryRequest::default())).await.map(drop),
        client.cancel(patient(CancelRequest::default())).await.map(drop),
        client.redrive(patient(RedriveRequest::default())).await.map(drop),
        client.render_preview(patient(RenderPreviewRequest::default())).await.map(drop),
        client.send_test(patient(SendTestRequest::default())).await.map(drop),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_admin_api_and_operators_ask_about_mails() {
    let ca = DevelopmentCa::generate().unwrap();
    let it = Surroundings::new().await;
    let transport = Transport::MutualTls(identity(&ca, "mailer"));
    let (mailer, address) = it.start_with(Arc::new(SystemClock), transport).await;
    for role in ["auth-api", "operator", "operator/alice"] {
        let calls = call(address, identity(&ca, role)).await;
        assert!(calls.iter().take(3).all(Result::is_ok), "{role}: {calls:?}");
        let denied = |refusal: &Status| refusal.code() == Code::PermissionDenied;
        assert!(!calls.iter().any(|call| call.as_ref().is_err_and(denied)), "{role}: {calls:?}");
    }
    for role in ["internal/demo", "session-service", "mailer", "audit-service"] {
        for refusal in call(address, identity(&ca, role)).await {
            assert_eq!(refusal.unwrap_err().code(), Code::PermissionDenied, "{role}");
        }
    }
    let stranger = DevelopmentCa::generate().unwrap();
    let impostor = TlsIdentity { ca: ca.ca_pem().into(), ..identity(&stranger, "operator") };
    for refusal in call(address, impostor).await {
        assert_eq!(refusal.unwrap_err().code(), Code::Unavailable);
    }
    Surroundings::stop(mailer).await;
}
