//! gRPC clients with the certificates of the development CA.

use auth_proto::{
    audit::v1::audit_service_client::AuditServiceClient,
    mailer::v1::mailer_service_client::MailerServiceClient,
    session::v1::session_service_client::SessionServiceClient,
};
use service_channel::ServiceAddress;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::Stack;

/// Whose certificate a client shows.
#[derive(Debug, Clone, Copy)]
pub enum As {
    /// An internal service.
    InternalService,
    /// An operator.
    Operator,
    /// auth-api itself, from which its certificate was taken.
    AuthApi,
    /// Nobody: no certificate.
    Nobody,
}

/// A client of session-service.
#[must_use]
pub fn sessions(stack: &Stack, caller: As) -> SessionServiceClient<Channel> {
    SessionServiceClient::new(channel(stack, "SESSION_GRPC", caller))
}

/// A client of all session-services of a stack with replicas, like an internal service's own.
#[must_use]
pub fn balanced_sessions(stack: &Stack) -> SessionServiceClient<service_channel::Channel> {
    let urls = ["SESSION_GRPC", "SESSION_GRPC_2"].map(|it| format!("https://{}", stack.variable(it)));
    let address: ServiceAddress = urls.join(",").parse().unwrap();
    let read = |name: &str| std::fs::read(stack.variable(name)).unwrap();
    let identity = service_channel::TlsIdentity::from_pem(
        read("TLS_CA"),
        read("TLS_CLIENT_CERT"),
        read("TLS_CLIENT_KEY"),
    );
    let channel = service_channel::connect_lazy(&address, Some(&identity)).unwrap();
    SessionServiceClient::new(channel.repeating(&["/feature_auth.session.v1.SessionService/Validate"]))
}

/// A client of the mailer.
#[must_use]
pub fn mailer(stack: &Stack, caller: As) -> MailerServiceClient<Channel> {
    MailerServiceClient::new(channel(stack, "MAILER_GRPC", caller))
}

/// A client of audit-service.
#[must_use]
pub fn audit(stack: &Stack, caller: As) -> AuditServiceClient<Channel> {
    AuditServiceClient::new(channel(stack, "AUDIT_GRPC", caller))
}

fn channel(stack: &Stack, address: &str, caller: As) -> Channel {
    let read = |name: &str| std::fs::read(stack.variable(name)).unwrap();
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("TLS_CA"))).domain_name("localhost");
    let tls = match caller {
        As::InternalService => {
            tls.identity(Identity::from_pem(read("TLS_CLIENT_CERT"), read("TLS_CLIENT_KEY")))
        }
        As::Operator => tls.identity(Identity::from_pem(read("TLS_OPS_CERT"), read("TLS_OPS_KEY"))),
        As::AuthApi => {
            let file = |name: &str| std::fs::read(stack.state().join("tls").join(name)).unwrap();
            tls.identity(Identity::from_pem(file("auth-api.pem"), file("auth-api.key")))
        }
        As::Nobody => tls,
    };
    let endpoint = Channel::from_shared(format!("https://{}", stack.variable(address))).unwrap();
    endpoint.tls_config(tls).unwrap().connect_lazy()
}
