//! The exchanges and queues of the platform, declared by every service that connects, again after every reconnect.
