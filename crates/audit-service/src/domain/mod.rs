//! Pure rules: what is a well-formed event, what may be asked for, and where a page begins.

pub mod arrivals;
pub mod chain;
mod checkpoint;
mod checkpoint_keys;
mod class;
mod criteria;
mod cursor;
mod damage;
mod event;
mod export;
mod filter;
mod free_text;
mod parse;
pub mod personal;
pub mod proof;
mod rejection;
mod scope;

pub use checkpoint::{Checkpoint, Drop, SignedDrop, SignedHead, Statement};
pub use checkpoint_keys::{CheckpointKeyInvalid, CheckpointKeys};
pub use class::Class;
pub use criteria::Criteria;
pub use cursor::{Cursor, PageSize, PageTokenInvalid, Place, PlaceInvalid, Reader};
pub use damage::{Damage, DamageKind};
pub use event::{Event, RecordedEvent};
pub use export::ExportFormat;
pub use filter::{Filter, FilterInvalid, TypeFilter};
pub use free_text::FreeText;
pub use parse::parse_event;
pub use rejection::Rejection;
pub use scope::{Scope, ScopeExceeded};
