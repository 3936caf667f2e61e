/// What a service may do on the broker, as RabbitMQ wants it: regular expressions for names of exchanges and queues.
///
/// A service that is given these and no more declares what it owns, and leaves the rest to its owners: nobody reads another's queue, and nobody can
/// say something in another's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// The service.
    pub service: &'static str,
    /// What it may declare.
    pub configure: &'static str,
    /// What it may publish to, and bind.
    pub write: &'static str,
    /// What it may consume, and bind to.
    pub read: &'static str,
}

/// The permissions of every service.
pub const PERMISSIONS: &[Permissions] = &[
    Permissions {
        service: "auth-api",
        configure: r"^auth\.(events|commands|retry|dead)$",
        write: r"^auth\.(events|commands)$",
        read: "^$",
    },
    Permissions {
        service: "session-service",
        configure: r"^auth\.(events|commands|retry|dead)$",
        write: r"^auth\.events$",
        read: "^$",
    },
    Permissions {
        service: "mailer",
        configure: r"^(mailer\..*|auth\.(events|commands|retry|dead))$",
        write: r"^(mailer\..*|auth\.(commands|retry|dead))$",
        read: r"^(mailer\..*|auth\.(commands|retry|dead))$",
    },
    Permissions {
        service: "audit-service",
        configure: r"^(audit\..*|auth\.(events|commands|retry|dead))$",
        write: r"^(audit\..*|auth\.(retry|dead))$",
        read: r"^(audit\..*|auth\.(events|retry|dead))$",
    },
];
