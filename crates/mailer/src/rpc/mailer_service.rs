use auth_proto::mailer::v1::{
    self as proto, GetMessageRequest, GetMessageResponse, ListMessagesRequest, ListMessagesResponse,
    mailer_service_server::MailerService,
};
use chrono::{DateTime, Utc};
use pg::Database;
use prost_types::Timestamp;
use service_error::{ErrorKind, ServiceError, into_status};
use tonic::{Request, Response, Status};

use super::{page_token, request};
use crate::{
    app::{get_message::get_message, list_messages::list_messages},
    domain::message::{Message, MessageState},
};

/// The service over the mailer's tables.
#[derive(Clone)]
pub struct MailerRpc {
    database: Database,
}

impl MailerRpc {
    /// Answers from `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[tonic::async_trait]
impl MailerService for MailerRpc {
    async fn get_message(
        &self,
        request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        let id = request::message_id(request.get_ref()).map_err(|error| refuse(&error))?;
        let message = get_message(&self.database, id).await.map_err(|error| refuse(&error))?;
        Ok(Response::new(GetMessageResponse { message: Some(to_proto(message)) }))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let request = request.get_ref();
        let filter = request::filter(request).map_err(|error| refuse(&error))?;
        let position = request::position(request).map_err(|error| refuse(&error))?;
        let size = request::page_size(request).map_err(|error| refuse(&error))?;
        let page =
            list_messages(&self.database, &filter, position, size).await.map_err(|error| refuse(&error))?;
        Ok(Response::new(ListMessagesResponse {
            messages: page.messages.into_iter().map(to_proto).collect(),
            next_page_token: page.next.map(page_token::encode).unwrap_or_default(),
        }))
    }
}

fn refuse(error: &(impl ServiceError + 'static)) -> Status {
    if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) {
        tracing::error!(error = error as &dyn std::error::Error, "A call failed");
    }
    into_status(error)
}

fn to_proto(message: Message) -> proto::Message {
    proto::Message {
        id: message.id.to_string(),
        user_id: message.user_id.map(|id| id.to_string()).unwrap_or_default(),
        template: message.template,
        locale: message.locale,
        to: message.to,
        lane: message.lane,
        state: message.state.map_or(proto::MessageState::Unspecified, state_to_proto).into(),
        attempts: message.attempts,
        message_id: message.message_id_header,
        last_reply: message.last_reply.unwrap_or_default(),
        created_at: Some(timestamp(message.created_at)),
        updated_at: Some(timestamp(message.updated_at)),
        expires_at: Some(timestamp(message.expires_at)),
        sent_at: message.sent_at.map(timestamp),
    }
}

fn state_to_proto(state: MessageState) -> proto::MessageState {
    match state {
        MessageState::Queued => proto::MessageState::Queued,
        MessageState::Sending => proto::MessageState::Sending,
        MessageState::Sent => proto::MessageState::Sent,
        MessageState::Deferred => proto::MessageState::Deferred,
        MessageState::Failed => proto::MessageState::Failed,
        MessageState::Expired => proto::MessageState::Expired,
    }
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
