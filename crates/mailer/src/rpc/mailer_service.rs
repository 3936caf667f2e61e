use std::sync::Arc;

use auth_proto::mailer::v1::{
    CancelRequest, CancelResponse, GetMessageRequest, GetMessageResponse, ListDeadLettersRequest,
    ListDeadLettersResponse, ListMessagesRequest, ListMessagesResponse, ProviderStatusRequest,
    ProviderStatusResponse, RedriveRequest, RedriveResponse, RenderPreviewRequest, RenderPreviewResponse,
    RetryRequest, RetryResponse, SendTestRequest, SendTestResponse, mailer_service_server::MailerService,
};
use event_bus::EventBus;
use sealing::MailboxPublicKey;
use service_error::{ErrorKind, ServiceError, into_status};
use tonic::{Request, Response, Status};

use super::{messages, page_token, request};
use crate::app::{
    cancel::cancel, deliver::Postman, get_message::get_message, list_dead_letters::list_dead_letters,
    list_messages::list_messages, redrive::redrive, render_preview::render_preview, retry::retry,
    send_test::send_test,
};

/// The service over the mailer's tables, its queues and its providers.
#[derive(Clone)]
pub struct MailerRpc {
    postman: Arc<Postman>,
    bus: EventBus,
    key: MailboxPublicKey,
}

impl MailerRpc {
    /// Answers from what `postman` works with; `key` seals the commands that are made here.
    #[must_use]
    pub fn new(postman: Arc<Postman>, bus: EventBus, key: MailboxPublicKey) -> Self {
        Self { postman, bus, key }
    }
}

#[tonic::async_trait]
impl MailerService for MailerRpc {
    async fn get_message(
        &self,
        request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        let id = understood(request::message_id(&request.get_ref().id))?;
        let (message, history) = understood(get_message(&self.postman.database, id).await)?;
        Ok(Response::new(GetMessageResponse {
            message: Some(messages::message(message, self.postman.clock.now())),
            history: history.into_iter().map(messages::transition).collect(),
        }))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let request = request.get_ref();
        let filter = understood(request::filter(request))?;
        let position = understood(request::position(&request.page_token))?;
        let size = understood(request::page_size(request.page_size))?;
        let page = understood(list_messages(&self.postman.database, &filter, position, size).await)?;
        let now = self.postman.clock.now();
        Ok(Response::new(ListMessagesResponse {
            messages: page.messages.into_iter().map(|message| messages::message(message, now)).collect(),
            next_page_token: page.next.map(page_token::encode).unwrap_or_default(),
        }))
    }

    async fn retry(&self, request: Request<RetryRequest>) -> Result<Response<RetryResponse>, Status> {
        let id = understood(request::message_id(&request.get_ref().id))?;
        let actor = understood(request::actor(&request, &request.get_ref().actor))?;
        let Postman { database, clock, .. } = &*self.postman;
        let message = understood(retry(database, &self.bus.publisher(), &**clock, id, &actor).await)?;
        Ok(Response::new(RetryResponse { message: Some(messages::message(message, clock.now())) }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let id = understood(request::message_id(&request.get_ref().id))?;
        let actor = understood(request::actor(&request, &request.get_ref().actor))?;
        let Postman { database, clock, .. } = &*self.postman;
        let message = understood(cancel(database, &**clock, id, &actor).await)?;
        Ok(Response::new(CancelResponse { message: Some(messages::message(message, clock.now())) }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let request = request.get_ref();
        let position = understood(request::position(&request.page_token))?;
        let size = understood(request::page_size(request.page_size))?;
        let page = understood(list_dead_letters(&self.postman.database, &self.bus, position, size).await)?;
        let refused = page.refused.into_iter().map(messages::refused);
        Ok(Response::new(ListDeadLettersResponse {
            dead_letters: page.failed.messages.into_iter().map(messages::failed).chain(refused).collect(),
            next_page_token: page.failed.next.map(page_token::encode).unwrap_or_default(),
            in_broker: page.in_broker,
        }))
    }

    async fn redrive(&self, request: Request<RedriveRequest>) -> Result<Response<RedriveResponse>, Status> {
        let actor = understood(request::actor(&request, &request.get_ref().actor))?;
        let selection = understood(request::selection(request.into_inner()))?;
        let Postman { database, clock, .. } = &*self.postman;
        let redriven = understood(redrive(database, &self.bus, &**clock, selection, &actor).await)?;
        Ok(Response::new(RedriveResponse {
            redriven: u32::try_from(redriven.count).unwrap_or(u32::MAX),
            not_redriven: redriven.not_redriven,
        }))
    }

    async fn render_preview(
        &self,
        request: Request<RenderPreviewRequest>,
    ) -> Result<Response<RenderPreviewResponse>, Status> {
        let template = understood(request::template(&request.get_ref().template))?;
        let locale = understood(request::locale(&request.get_ref().locale))?;
        let mail = understood(render_preview(&self.postman.renderer, template, locale))?;
        Ok(Response::new(RenderPreviewResponse { subject: mail.subject, text: mail.text, html: mail.html }))
    }

    async fn send_test(
        &self,
        request: Request<SendTestRequest>,
    ) -> Result<Response<SendTestResponse>, Status> {
        let to = understood(request::recipient(&request.get_ref().to))?;
        let locale = understood(request::locale(&request.get_ref().locale))?;
        let publisher = self.bus.publisher();
        let id = understood(send_test(&publisher, &self.key, &*self.postman.clock, &to, locale).await)?;
        Ok(Response::new(SendTestResponse { id: id.to_string() }))
    }

    async fn provider_status(
        &self,
        _request: Request<ProviderStatusRequest>,
    ) -> Result<Response<ProviderStatusResponse>, Status> {
        let providers = self.postman.providers.report().into_iter().map(messages::provider).collect();
        Ok(Response::new(ProviderStatusResponse { providers }))
    }
}

/// What went well, or the status of the error, which is logged here if it is ours.
fn understood<T, E: ServiceError + 'static>(result: Result<T, E>) -> Result<T, Status> {
    result.map_err(|error| {
        if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) {
            tracing::error!(error = &error as &dyn std::error::Error, "A call failed");
        }
        into_status(&error)
    })
}
