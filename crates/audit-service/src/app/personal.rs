//! What is about people, sealed each with a key of their own, and opened as long as there is that key.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use auth_ids::{GenericUuid, Uuid};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sealing::{DataKey, KeyRing};
use serde_json::{Map, Value};
use sha2::Sha256;
use tracing::error;
use zeroize::Zeroize;

use super::reseal::Renewal;
use crate::{
    domain::{
        Class, Event, RecordedEvent,
        personal::{Owner, Parts, SealedClient},
    },
    store::{self, events::StoredEvent},
};

/// The name of the shared key by which addresses are hashed.
const TAG_KEY: &str = "ip-tags";
const TAG_BYTES: usize = 16;

/// Seals and opens. Clones share what they remember.
#[derive(Clone)]
pub(super) struct PersonalData {
    ring: KeyRing,
    /// The few keys of nobody that are in use, by name. Those of people are read anew each time, so that one that was deleted
    /// is gone everywhere at once.
    shared: Arc<Mutex<HashMap<String, DataKey>>>,
}

/// An event whose personal parts are sealed.
pub(super) struct SealedEvent {
    pub actor_name: Option<String>,
    /// Canonical JSON.
    pub detail: String,
    pub client: Option<Vec<u8>>,
    pub personal_detail: Option<Vec<u8>>,
    /// What finds it by its address, and whose that is.
    pub tag: Option<(Vec<u8>, Option<Uuid>)>,
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error(transparent)]
    Database(#[from] pg::Error),
    /// A new key in its place would make two keys of one owner, and nothing at all would lose the data for good.
    #[error("no key of AUDIT_PERSONAL_KEYS opens the key of {0}")]
    KeyUnusable(String),
}

/// Opened keys; `None` for a person who was erased.
type Keys = HashMap<(Owner, Class), Option<DataKey>>;

impl PersonalData {
    pub fn new(ring: KeyRing) -> Self {
        Self { ring, shared: Arc::default() }
    }

    /// Seals `events` and makes the keys that there are not yet. Only for the holder of the log's end. What belongs to
    /// somebody who was erased is left out: they stay erased, whatever comes late.
    pub async fn seal(
        &self,
        conn: &mut AsyncPgConnection,
        events: &[&Event],
        now: DateTime<Utc>,
    ) -> Result<Vec<SealedEvent>, SealError> {
        let parts: Vec<Parts> = events.iter().map(|event| Parts::of(event)).collect();
        let mut owners = BTreeSet::new();
        for (event, parts) in events.iter().zip(&parts) {
            let class = Class::of(&event.name);
            owners.extend(parts.client.as_ref().map(|_| (event.client_owner(), class)));
            if !parts.personal_detail.is_empty() {
                owners.insert((event.detail_owner(), class));
            }
        }
        let keys = self.keys_to_seal(conn, &owners, now).await?;
        let has_address = parts.iter().any(|parts| parts.ip().is_some());
        let tag_key = if has_address { Some(self.shared_key(conn, TAG_KEY).await?) } else { None };
        let sealed = events.iter().zip(parts);
        Ok(sealed.map(|(event, parts)| seal(event, parts, &keys, tag_key.as_ref())).collect())
    }

    /// What finds events by this address; `None` when no event has any.
    pub async fn tag(&self, conn: &mut AsyncPgConnection, ip: IpAddr) -> pg::Result<Option<Vec<u8>>> {
        let keys = self.existing_shared_keys(conn, vec![TAG_KEY.to_owned()]).await?;
        Ok(keys.get(TAG_KEY).map(|key| tag(key, ip)))
    }

    /// Opens what can still be opened of `rows`.
    pub async fn open(
        &self,
        conn: &mut AsyncPgConnection,
        rows: Vec<StoredEvent>,
    ) -> pg::Result<Vec<RecordedEvent>> {
        let (mut people, mut months) = (BTreeSet::new(), BTreeSet::new());
        for row in &rows {
            for owner in row.owners() {
                match owner {
                    Owner::Person(id) => drop(people.insert(id)),
                    Owner::Month => drop(months.insert(month_key(&row.event.class, row.event.recorded_at))),
                }
            }
        }
        let people: Vec<Uuid> = people.into_iter().collect();
        let mut of_people = HashMap::new();
        if !people.is_empty() {
            for (id, sealed) in store::keys::of_subjects(conn, &people).await? {
                let key =
                    sealed.and_then(|sealed| self.open_subject_key(id, &sealed).inspect_err(complain).ok());
                of_people.extend(key.map(|key| (id, key)));
            }
        }
        let of_months = self.existing_shared_keys(conn, months.into_iter().collect()).await?;
        let opened = rows.into_iter().map(|row| {
            let month = of_months.get(&month_key(&row.event.class, row.event.recorded_at));
            open(row, |owner| match owner {
                Owner::Person(id) => of_people.get(&id),
                Owner::Month => month,
            })
        });
        Ok(opened.collect())
    }

    async fn keys_to_seal(
        &self,
        conn: &mut AsyncPgConnection,
        owners: &BTreeSet<(Owner, Class)>,
        now: DateTime<Utc>,
    ) -> Result<Keys, SealError> {
        let people = owners.iter().filter_map(|(owner, _)| match owner {
            Owner::Person(id) => Some(*id),
            Owner::Month => None,
        });
        let people: BTreeSet<Uuid> = people.collect();
        let of_people = self.subject_keys(conn, &people.into_iter().collect::<Vec<_>>()).await?;
        let mut keys = Keys::new();
        for (owner, class) in owners.iter().copied() {
            let key = match owner {
                Owner::Person(id) => of_people.get(&id).cloned().flatten(),
                Owner::Month => Some(self.shared_key(conn, &month_key(class.name(), now)).await?),
            };
            keys.insert((owner, class), key);
        }
        Ok(keys)
    }

    /// The keys of all these people, new ones for those who never had one, and `None` for those who were erased.
    async fn subject_keys(
        &self,
        conn: &mut AsyncPgConnection,
        people: &[Uuid],
    ) -> Result<HashMap<Uuid, Option<DataKey>>, SealError> {
        if people.is_empty() {
            return Ok(HashMap::new());
        }
        let stored = store::keys::of_subjects(conn, people).await?;
        let mut keys = HashMap::with_capacity(people.len());
        let mut made = Vec::new();
        for id in people.iter().copied() {
            let key = if let Some(sealed) = stored.get(&id) {
                sealed.as_ref().map(|sealed| self.open_subject_key(id, sealed)).transpose()?
            } else {
                let mut rng = clock::secure_rng();
                let key = DataKey::generate(&mut rng);
                made.push((id, key.seal_with(&self.ring, &subject_binding(id), &mut rng)));
                Some(key)
            };
            keys.insert(id, key);
        }
        if !made.is_empty() {
            store::keys::insert_subjects(conn, &made).await?;
        }
        Ok(keys)
    }

    fn open_subject_key(&self, id: Uuid, sealed: &[u8]) -> Result<DataKey, SealError> {
        DataKey::open_with(&self.ring, sealed, &subject_binding(id))
            .map_err(|_| SealError::KeyUnusable(format!("subject {id}")))
    }

    /// The shared key of that name, made at first use. Only for the holder of the log's end.
    async fn shared_key(&self, conn: &mut AsyncPgConnection, name: &str) -> Result<DataKey, SealError> {
        if let Some(key) = self.remembered(name) {
            return Ok(key);
        }
        if let Some(sealed) = store::keys::shared(conn, &[name.to_owned()]).await?.remove(name) {
            return self.open_shared_key(name, &sealed);
        }
        // Not remembered: this transaction may yet be rolled back.
        let key = DataKey::generate(&mut clock::secure_rng());
        let sealed = key.seal_with(&self.ring, &shared_binding(name), &mut clock::secure_rng());
        store::keys::insert_shared(conn, name, &sealed).await?;
        Ok(key)
    }

    async fn existing_shared_keys(
        &self,
        conn: &mut AsyncPgConnection,
        mut names: Vec<String>,
    ) -> pg::Result<HashMap<String, DataKey>> {
        let mut keys = HashMap::new();
        names.retain(|name| {
            let remembered = self.remembered(name);
            let is_new = remembered.is_none();
            keys.extend(remembered.map(|key| (name.clone(), key)));
            is_new
        });
        if !names.is_empty() {
            for (name, sealed) in store::keys::shared(conn, &names).await? {
                let key = self.open_shared_key(&name, &sealed).inspect_err(complain).ok();
                keys.extend(key.map(|key| (name, key)));
            }
        }
        Ok(keys)
    }

    pub fn reseal_subject(&self, id: Uuid, sealed: &[u8]) -> Renewal {
        self.reseal(sealed, &subject_binding(id))
    }

    pub fn reseal_shared(&self, name: &str, sealed: &[u8]) -> Renewal {
        self.reseal(sealed, &shared_binding(name))
    }

    fn reseal(&self, sealed: &[u8], binding: &[u8]) -> Renewal {
        if self.ring.is_current(sealed) {
            return Renewal::Current;
        }
        match DataKey::open_with(&self.ring, sealed, binding) {
            Ok(key) => Renewal::Sealed(key.seal_with(&self.ring, binding, &mut clock::secure_rng())),
            Err(_) => Renewal::Unreadable,
        }
    }

    fn remembered(&self, name: &str) -> Option<DataKey> {
        self.shared.lock().get(name).cloned()
    }

    fn open_shared_key(&self, name: &str, sealed: &[u8]) -> Result<DataKey, SealError> {
        let key = DataKey::open_with(&self.ring, sealed, &shared_binding(name))
            .map_err(|_| SealError::KeyUnusable(name.to_owned()))?;
        self.shared.lock().insert(name.to_owned(), key.clone());
        Ok(key)
    }
}

fn seal(event: &Event, parts: Parts, keys: &Keys, tag_key: Option<&DataKey>) -> SealedEvent {
    let class = Class::of(&event.name);
    let id = event.id.into_untyped_uuid();
    let key = |owner| keys.get(&(owner, class)).and_then(Option::as_ref);
    let mut rng = clock::secure_rng();
    let owner = event.client_owner();
    let client = parts.client.as_ref().zip(key(owner)).and_then(|(client, key)| {
        let plaintext = serde_json::to_vec(client).ok()?;
        Some(key.seal(&plaintext, &client_binding(id), &mut rng))
    });
    let tag = parts.ip().zip(tag_key).filter(|_| client.is_some()).map(|(ip, key)| {
        let owner_id = if let Owner::Person(id) = owner { Some(id) } else { None };
        (tag(key, ip), owner_id)
    });
    let personal_detail = Some(&parts.personal_detail)
        .filter(|detail| !detail.is_empty())
        .zip(key(event.detail_owner()))
        .and_then(|(detail, key)| {
            let plaintext = serde_json::to_vec(detail).ok()?;
            Some(key.seal(&plaintext, &detail_binding(id), &mut rng))
        });
    SealedEvent {
        actor_name: parts.actor_name,
        // A JSON value always has a canonical form; every number of ours is a double by now.
        detail: serde_json_canonicalizer::to_string(&parts.detail).unwrap_or_default(),
        client,
        personal_detail,
        tag,
    }
}

/// The event with what its keys still open.
fn open<'a>(row: StoredEvent, key: impl Fn(Owner) -> Option<&'a DataKey>) -> RecordedEvent {
    let (client_owner, detail_owner) = (row.client_owner(), row.detail_owner());
    let StoredEvent { mut event, sealed_client, sealed_detail } = row;
    if let Some(sealed) = sealed_client {
        let opened = key(client_owner).and_then(|key| key.open(&sealed, &client_binding(event.id)).ok());
        match opened.and_then(|json| serde_json::from_slice::<SealedClient>(&json).ok()) {
            Some(client) => {
                event.client.ip = client.ip;
                event.client.user_agent = client.user_agent;
                event.actor_name = event.actor_name.or(client.actor_name);
            }
            None => event.erased = true,
        }
    }
    if let Some(sealed) = sealed_detail {
        let opened = key(detail_owner).and_then(|key| key.open(&sealed, &detail_binding(event.id)).ok());
        match opened.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok()) {
            Some(personal) => {
                if let Value::Object(detail) = &mut event.detail {
                    detail.extend(personal);
                }
            }
            None => event.erased = true,
        }
    }
    event
}

/// The same for the same address, and of use only to who has the key.
fn tag(key: &DataKey, ip: IpAddr) -> Vec<u8> {
    // A key of half a block is filled up with zeros: that is how HMAC is defined.
    let mut block = [0; 64];
    if let Some(start) = block.first_chunk_mut() {
        *start = *key.expose();
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    block.zeroize();
    mac.update(ip.to_canonical().to_string().as_bytes());
    let mut tag = mac.finalize().into_bytes().to_vec();
    tag.truncate(TAG_BYTES);
    tag
}

/// One for each class, since months of different classes end at different times.
fn month_key(class: &str, recorded_at: DateTime<Utc>) -> String {
    format!("{class}/{}", recorded_at.format("%Y-%m"))
}

fn subject_binding(id: Uuid) -> Vec<u8> {
    format!("audit-service subject key v1|{id}").into_bytes()
}

fn shared_binding(name: &str) -> Vec<u8> {
    format!("audit-service shared key v1|{name}").into_bytes()
}

fn client_binding(event: Uuid) -> Vec<u8> {
    format!("audit-service client v1|{event}").into_bytes()
}

fn detail_binding(event: Uuid) -> Vec<u8> {
    format!("audit-service detail v1|{event}").into_bytes()
}

fn complain(error: &SealError) {
    let cause: &dyn std::error::Error = error;
    error!(error = cause, "Personal data of the audit log cannot be read");
}
