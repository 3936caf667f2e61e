use std::fmt;

use crate::{client_connection::ClientConnection, replicas::Replicas};

/// Who answered a call, in the extensions of its response. Only a caller can tell that a replica does not keep what its answer promised: one whose stream falls
/// silent, for example.
#[derive(Clone)]
pub struct AnsweredBy {
    pub(crate) connection: ClientConnection,
    pub(crate) replicas: Replicas,
}

impl AnsweredBy {
    /// Gives no more calls to the connection that the answer came from. Others take them, and its replica takes part again once it is connected to anew; calls that
    /// are under way end in peace.
    pub fn leave(self) {
        self.replicas.give_up(&self.connection);
    }
}

impl fmt::Debug for AnsweredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnsweredBy").finish_non_exhaustive()
    }
}
