use std::{
    cell::RefCell,
    error::Error,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    http::header,
    web::Bytes,
};
use futures::Stream;

/// A chunked body, kept until its request is answered.
///
/// The framework goes on reading, without an end, a chunked body that was dropped before its end; a client could keep its connection for as long as it
/// likes. When the body is still there at the end of the answer, the framework closes the connection.
pub struct UnreadBody {
    _body: Rc<RefCell<Payload>>,
}

impl UnreadBody {
    /// Keeps the body of `request`, if it is chunked. Handlers read it as ever.
    pub fn keep(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let body = Rc::new(RefCell::new(request.take_payload()));
        request.set_payload(Payload::Stream { payload: Box::pin(Reader(Rc::clone(&body))) });
        Some(Self { _body: body })
    }

    /// Lets go of the body when `answer` is sent.
    pub fn until_sent(self, answer: BoxBody) -> BoxBody {
        BoxBody::new(Answer { answer, _unread: self })
    }
}

struct Reader(Rc<RefCell<Payload>>);

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

struct Answer {
    answer: BoxBody,
    _unread: UnreadBody,
}

impl MessageBody for Answer {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(context)
    }
}
