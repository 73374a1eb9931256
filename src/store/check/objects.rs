//! What objects there are: their IDs, their records and their documents.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::fix::Foreign;
use super::{Entry, Fix, Found, Look, Result, Step, compare};
use crate::model::finding::Trouble;
use crate::model::id::Id;
use crate::model::record::{CtrHead, Doc, Kind, PodHead, Row, Serial, Stamp};
use crate::store::query::Query;
use crate::store::tables::{DIGESTS, DOCS, IDS, INFRA, OBJECTS, REQUESTS};
use crate::store::update::Done;

/// Bytes of a digest.
const DIGEST: u64 = 32;

/// The tables of IDs as they are.
#[derive(Default)]
struct Indexes {
    ids: BTreeMap<Id, (Kind, Serial)>,
    digests: BTreeMap<(Kind, Id), Serial>,
    objects: BTreeMap<(Kind, Serial), Id>,
    infra: BTreeMap<Id, Serial>,
}

impl Indexes {
    /// Reads them; an entry of no kind that there is is a finding.
    fn read(state: &impl Query, found: &mut Found) -> Result<Indexes> {
        let mut indexes = Indexes::default();
        let mut foreign = |object: String, entry| {
            found.structure(object, "there is no such kind of object", Fix::step(Step::Forget(entry)));
        };
        for entry in state.table(IDS)?.iter()? {
            let (id, object) = entry?;
            let (id, (number, serial)) = (Id::from_bytes(*id.value()), object.value());
            match Kind::from_number(number).filter(|kind| !kind.is_content()) {
                Some(kind) => drop(indexes.ids.insert(id, (kind, serial))),
                None => foreign(format!("ids {id}"), Foreign::Id(id)),
            }
        }
        for entry in state.table(DIGESTS)?.iter()? {
            let (key, serial) = entry?;
            let (number, id) = (key.value().0, Id::from_bytes(*key.value().1));
            match Kind::from_number(number).filter(|kind| kind.is_content()) {
                Some(kind) => drop(indexes.digests.insert((kind, id), serial.value())),
                None => foreign(format!("digests {id}"), Foreign::Digest(number, id)),
            }
        }
        for entry in state.table(OBJECTS)?.iter()? {
            let (key, id) = entry?;
            let ((number, serial), id) = (key.value(), Id::from_bytes(*id.value()));
            match Kind::from_number(number) {
                Some(kind) => drop(indexes.objects.insert((kind, serial), id)),
                None => foreign(format!("objects {id}"), Foreign::Object(number, serial)),
            }
        }
        for entry in state.table(INFRA)?.iter()? {
            let (id, ctr) = entry?;
            indexes.infra.insert(Id::from_bytes(*id.value()), ctr.value());
        }
        Ok(indexes)
    }

    /// The kind and ID of an object whose record does not decode.
    fn of_damaged(&self, serial: Serial) -> Option<(Kind, Id)> {
        let listed = Kind::ALL.into_iter().find_map(|kind| Some((kind, *self.objects.get(&(kind, serial))?)));
        let by_id = || self.ids.iter().find(|(_, (_, of))| *of == serial).map(|(id, (kind, _))| (*kind, *id));
        let by_digest = || self.digests.iter().find(|(_, of)| **of == serial).map(|((kind, id), _)| (*kind, *id));
        let by_infra = || self.infra.iter().find(|(_, of)| **of == serial).map(|(id, _)| (Kind::Ctr, *id));
        listed.or_else(by_id).or_else(by_digest).or_else(by_infra)
    }

    /// Whether an ID leads to an object.
    fn leads_to(&self, space: Space, id: Id, (kind, serial): (Kind, Serial)) -> bool {
        match space {
            Space::Objects => self.ids.get(&id) == Some(&(kind, serial)),
            Space::Infra => self.infra.get(&id) == Some(&serial),
            Space::Content(kind) => self.digests.get(&(kind, id)) == Some(&serial),
        }
    }

    /// Whether a container carries its pod's ID: the one that is in a pod and has its ID. Where a record
    /// cannot say so, what else does.
    fn is_infra(&self, look: &Look, serial: Serial, id: Id) -> bool {
        let told =
            || matches!(look.more.get(&serial), Some(Ok(more)) if more.infra) || self.infra.get(&id) == Some(&serial);
        match look.rows.get(&serial) {
            Some(Some(Row::Ctr(CtrHead { pod: None, .. }))) => false,
            Some(Some(Row::Ctr(CtrHead { pod: Some((pod, _)), .. }))) => match look.rows.get(pod) {
                Some(Some(row)) => identity(row) == Some((Kind::Pod, id)),
                Some(None) => self.of_damaged(*pod) == Some((Kind::Pod, id)),
                None => told(),
            },
            _ => told(),
        }
    }
}

/// The kind and ID that a record gives.
fn identity(row: &Row) -> Option<(Kind, Id)> {
    match row {
        Row::Ctr(head) => Some((Kind::Ctr, head.id())),
        Row::Pod(head) => Some((Kind::Pod, head.id())),
        Row::Image(head) => Some((Kind::Image, head.id())),
        Row::Layer(head) => Some((Kind::Layer, head.id())),
        _ => None,
    }
}

/// Where IDs are unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    /// Containers and pods share one.
    Objects,
    /// But for containers that carry their pod's.
    Infra,
    /// Images and layers each have their own.
    Content(Kind),
}

/// Who claims an ID.
type Claims = BTreeMap<(Space, Id), Vec<(Kind, Serial)>>;

/// Fills in which objects there are: each has a record and an ID of its own.
pub(super) fn objects(state: &impl Query, look: &mut Look, found: &mut Found) -> Result<()> {
    let indexes = Indexes::read(state, found)?;
    let mut claims: Claims = BTreeMap::new();
    for (serial, row) in &look.rows {
        let known = match row {
            Some(row) => identity(row),
            None => indexes.of_damaged(*serial),
        };
        if let Some((kind, id)) = known {
            let space = match kind {
                Kind::Image | Kind::Layer => Space::Content(kind),
                Kind::Ctr if indexes.is_infra(look, *serial, id) => Space::Infra,
                Kind::Ctr | Kind::Pod => Space::Objects,
            };
            claims.entry((space, id)).or_default().push((kind, *serial));
        }
    }
    for ((space, id), claims) in claims {
        let entitled = claims.iter().find(|object| indexes.leads_to(space, id, **object));
        let Some((kind, serial)) = entitled.or(claims.first()).copied() else { continue };
        look.objects.insert((kind, serial), id);
        if space == Space::Infra {
            look.infra.insert(serial);
        }
        for (_, other) in claims.into_iter().filter(|claim| *claim != (kind, serial)) {
            found.structure(format!("rows {other}"), format!("another object has the ID {id}"), Fix::drop_row(other));
        }
    }
    compare_ids(look, &indexes, found);
    Ok(())
}

fn compare_ids(look: &Look, indexes: &Indexes, found: &mut Found) {
    let (mut ids, mut digests, mut infra) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for ((kind, serial), id) in &look.objects {
        match kind {
            Kind::Image | Kind::Layer => drop(digests.insert((*kind, *id), *serial)),
            Kind::Ctr if look.infra.contains(serial) => drop(infra.insert(*id, *serial)),
            Kind::Ctr | Kind::Pod => drop(ids.insert(*id, (*kind, *serial))),
        }
    }
    let nowhere = "its ID does not lead to it";
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(
        &indexes.objects,
        &look.objects,
        |(kind, serial), id| {
            let words = format!("row {serial} is not this object's");
            drops.push((format!("objects {id}"), words, Entry::Object((*kind, *serial), *id)));
        },
        |(kind, serial), id| {
            let words = "an object that has no ID".to_owned();
            puts.push((format!("rows {serial}"), words, Entry::Object((*kind, *serial), *id)));
        },
    );
    compare(
        &indexes.ids,
        &ids,
        |id, object| drops.push((format!("ids {id}"), "it is no object's".to_owned(), Entry::Id(*id, *object))),
        |id, object| puts.push((format!("{}/{id}", object.0.dir()), nowhere.to_owned(), Entry::Id(*id, *object))),
    );
    compare(
        &indexes.digests,
        &digests,
        |key, serial| {
            drops.push((format!("digests {}", key.1), "it is no object's".to_owned(), Entry::Digest(*key, *serial)));
        },
        |key, serial| {
            puts.push((format!("{}/{}", key.0.dir(), key.1), nowhere.to_owned(), Entry::Digest(*key, *serial)));
        },
    );
    compare(
        &indexes.infra,
        &infra,
        |id, ctr| {
            let words = "no container of the pod with this ID".to_owned();
            drops.push((format!("infra {id}"), words, Entry::Infra(*id, *ctr)));
        },
        |id, ctr| puts.push((format!("ctr/{id}"), nowhere.to_owned(), Entry::Infra(*id, *ctr))),
    );
    for (object, words, entry) in drops {
        found.structure(object, words, Fix::drop(entry));
    }
    for (object, words, entry) in puts {
        found.structure(object, words, Fix::put(entry));
    }
}

/// Rows that do not decode. One that is an object's takes it along; any other is made anew by whoever
/// needs it, once it is gone.
pub(super) fn damaged(look: &Look, damaged: &BTreeMap<Serial, String>, found: &mut Found) {
    for (serial, why) in damaged {
        let kind = Kind::ALL.into_iter().find(|kind| look.exists(*kind, *serial));
        // A container's own layer follows from the container, which tells of it.
        if look.own_layers.contains_key(serial) {
            continue;
        }
        let (object, fix) = match kind {
            Some(kind) => (look.path(kind, *serial), Fix::Remove(kind, *serial)),
            None => (format!("rows {serial}"), Fix::drop_row(*serial)),
        };
        found.structure(object, format!("row {serial} does not decode: {why}"), fix);
    }
}

/// The documents of each object are there, and as long as its record says. Returns the sizes of the
/// containers' own texts.
pub(super) fn documents(state: &impl Query, look: &Look, found: &mut Found) -> Result<BTreeMap<Serial, u64>> {
    let mut sizes: BTreeMap<(Serial, u8), u64> = BTreeMap::new();
    let mut metadata = BTreeMap::new();
    for entry in state.table(DOCS)?.iter()? {
        let (key, bytes) = entry?;
        sizes.insert(key.value(), bytes.value().len() as u64);
    }
    for (kind, serial) in look.objects.keys() {
        let (kind, serial) = (*kind, *serial);
        let mut size_of = |doc: Doc| sizes.remove(&(serial, doc as u8));
        if look.is_damaged(serial) {
            sizes.retain(|(of, _), _| *of != serial);
        } else if let Some(head) = look.ctr(serial) {
            let put = |doc, stamp| match doc {
                Doc::State => Row::Ctr(CtrHead { state: stamp, ..head.clone() }),
                _ => Row::Ctr(CtrHead { config: stamp, ..head.clone() }),
            };
            for (doc, stamp) in [(Doc::Config, head.config), (Doc::State, head.state)] {
                stamped(look, found, (kind, serial), doc, stamp, size_of(doc), put);
            }
            let is_due = look.has_unknown(serial)
                || matches!(look.more.get(&serial), Some(Ok(more)) if more.metadata.version != 0);
            if is_due && let Some(size) = size_of(Doc::Metadata) {
                metadata.insert(serial, size);
            }
        } else if let Some(head) = look.pod(serial) {
            let put = |doc, stamp| match doc {
                Doc::State => Row::Pod(PodHead { state: stamp, ..head.clone() }),
                _ => Row::Pod(PodHead { config: stamp, ..head.clone() }),
            };
            for (doc, stamp) in [(Doc::Config, head.config), (Doc::State, head.state)] {
                stamped(look, found, (kind, serial), doc, stamp, size_of(doc), put);
            }
        } else if let Some(head) = look.image(serial) {
            for (doc, due) in [(Doc::Config, head.config), (Doc::Manifest, head.manifest)] {
                let (trouble, words) = match size_of(doc) {
                    Some(size) if size == due => continue,
                    Some(size) => {
                        (Trouble::ImageDataIncorrectSize, format!("its {} has {size} bytes, not {due}", doc.name()))
                    }
                    None => (Trouble::ImageDataMissing, format!("its {} is missing", doc.name())),
                };
                found.push(trouble, look.path(kind, serial), words, Fix::Remove(kind, serial));
            }
        } else if look.layer(serial).is_some_and(|head| head.owner.is_none())
            && let Some(size) = size_of(Doc::Tree)
            && size != DIGEST
        {
            let fix = Fix::step(Step::Forget(Foreign::Doc(serial, Doc::Tree as u8)));
            found.structure(look.path(kind, serial), format!("its record's digest has {size} bytes"), fix);
        }
    }
    for (serial, doc) in sizes.into_keys() {
        let fix = Fix::step(Step::Forget(Foreign::Doc(serial, doc)));
        found.structure(format!("docs {serial} {doc}"), "a document of no object", fix);
    }
    Ok(metadata)
}

/// A document whose size is part of a stamp.
fn stamped(
    look: &Look,
    found: &mut Found,
    (kind, serial): (Kind, Serial),
    doc: Doc,
    stamp: Stamp,
    size: Option<u64>,
    put: impl Fn(Doc, Stamp) -> Row,
) {
    let (words, fix) = match size {
        Some(size) if size == stamp.size => return,
        Some(size) => (
            format!("its {} has {size} bytes, not {}", doc.name(), stamp.size),
            Fix::Record(serial, Box::new(put(doc, Stamp { size, ..stamp }))),
        ),
        None => (format!("its {} is missing", doc.name()), Fix::Remove(kind, serial)),
    };
    found.structure(look.path(kind, serial), words, fix);
}

/// The kept answers decode.
pub(super) fn requests(state: &impl Query, found: &mut Found) -> Result<()> {
    for entry in state.table(REQUESTS)?.iter()? {
        let (key, bytes) = entry?;
        if postcard::from_bytes::<Done>(bytes.value()).is_err() {
            let (connection, unique) = key.value();
            let fix = Fix::step(Step::Forget(Foreign::Request(connection, unique)));
            found.structure(format!("requests {connection} {unique}"), "does not decode", fix);
        }
    }
    Ok(())
}
