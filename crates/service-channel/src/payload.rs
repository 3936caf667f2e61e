//! The body of a request, kept so that it can be sent again.

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream};
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use tonic::body::Body;

/// Twice the largest message that a service accepts.
const LARGEST: usize = 131_072;

pub(crate) enum Payload {
    /// All of it.
    Whole(Bytes),
    /// A stream, or too much: it can be sent once.
    Once(Option<Body>),
}

impl Payload {
    /// Keeps what is there already. A body that is still being made is not waited for.
    pub fn of(mut body: Body) -> Self {
        let mut kept = BytesMut::new();
        loop {
            match body.frame().now_or_never() {
                Some(None) => return Self::Whole(kept.freeze()),
                Some(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => kept.extend_from_slice(&data),
                    Err(trailers) => return Self::once(kept, [Ok(trailers)], body),
                },
                Some(Some(Err(error))) => return Self::once(kept, [Err(error)], body),
                None => return Self::once(kept, [], body),
            }
            if kept.len() > LARGEST {
                return Self::once(kept, [], body);
            }
        }
    }

    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// To send; `None` when it has been sent and cannot be sent again.
    pub fn body(&mut self) -> Option<Body> {
        match self {
            Self::Whole(bytes) => Some(Body::new(Full::new(bytes.clone()))),
            Self::Once(body) => body.take(),
        }
    }

    fn once<const N: usize>(begin: BytesMut, then: [Frame; N], rest: Body) -> Self {
        let begin = (!begin.is_empty()).then(|| Ok(http_body::Frame::data(begin.freeze())));
        let frames = stream::iter(begin.into_iter().chain(then)).chain(BodyStream::new(rest));
        Self::Once(Some(Body::new(StreamBody::new(frames))))
    }
}

type Frame = Result<http_body::Frame<Bytes>, tonic::Status>;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: Option<Body>) -> Bytes {
        body.unwrap().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn what_is_there_already_can_be_sent_again() {
        let mut payload = Payload::of(Body::new(Full::new(Bytes::from_static(b"message"))));
        assert!(payload.is_whole());
        for _ in 0..2 {
            assert_eq!(read(payload.body()).await, "message");
        }
    }

    #[tokio::test]
    async fn what_is_too_large_or_not_there_yet_is_sent_once_and_whole() {
        let large = Bytes::from(vec![7; LARGEST + 1]);
        let mut payload = Payload::of(Body::new(Full::new(large.clone())));
        assert!(!payload.is_whole());
        assert_eq!(read(payload.body()).await, large);
        assert!(payload.body().is_none());

        let (sender, receiver) = tokio::sync::oneshot::channel::<Bytes>();
        let later = receiver.map(|rest| Ok(http_body::Frame::data(rest.unwrap())));
        let first = stream::iter([Frame::Ok(http_body::Frame::data(Bytes::from_static(b"now, ")))]);
        let mut payload = Payload::of(Body::new(StreamBody::new(first.chain(stream::once(later)))));
        assert!(!payload.is_whole());
        sender.send(Bytes::from_static(b"later")).unwrap();
        assert_eq!(read(payload.body()).await, "now, later");
    }
}
