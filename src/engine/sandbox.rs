//! Making pod sandboxes, each a pod with the infra container that carries its ID, and containers in them.

use super::create::{Beside, Made, create_ctr, create_pod, free_name_or_refuse};
use super::find::{Found, find};
use super::view::View;
use super::{Engine, Error, Origin, Result, World};
use crate::model::error::Refusal;
use crate::model::json::{Map, Value};
use crate::model::record::{Answer, Doc, Kind, Serial};
use crate::model::sandbox::{Asked, mount_label};
use crate::store::{Contents, Done, Query, Update};

impl Engine {
    /// Makes pod sandboxes, all or none, and answers their pods' IDs.
    ///
    /// # Errors
    /// The first document's refusal that has one.
    pub fn create_sandboxes(&self, origin: Origin, documents: Vec<Map<String, Value>>) -> Result<Done> {
        let new = self.nothing_made();
        self.apply_growing(origin, move |update, world| {
            let mut made = new.clone();
            for document in &documents {
                create_sandbox(update, world, document, &mut made)?;
            }
            Ok((Answer::Objects(made.objects), made.changes))
        })
    }
}

fn create_sandbox(update: &Update<'_>, world: &World, document: &Map<String, Value>, made: &mut Made) -> Result<()> {
    let mut asked = Asked::read(document, true)?;
    let (id, pod_name) = asked.pod()?;
    asked.id = Some(id);
    let image = image(update, &asked)?;
    if let Some((by, _)) = update.object(&id)? {
        return Err(Refusal::IdTaken { id, by }.into());
    }
    free_name_or_refuse(update, &pod_name)?;
    free_name_or_refuse(update, &asked.name)?;
    if asked.name == pod_name {
        return Err(Refusal::NameTaken { name: pod_name.to_string(), by: Kind::Pod }.into());
    }
    let identity = [("id", id.to_string()), ("name", pod_name.to_string())];
    let config = identity.map(|(key, value)| (key.to_owned(), Value::from(value)));
    let state = Map::from_iter([("InfraContainerID".to_owned(), Value::from(id.to_string()))]);
    let pod = create_pod(update, world, Map::from_iter(config), &state, made)?;
    create(update, world, &asked, &image, (pod.1, true), made)?;
    made.objects.push(pod);
    Ok(())
}

/// Makes a container in a pod that is there.
pub(super) fn create_member(
    update: &Update<'_>,
    world: &World,
    document: &Map<String, Value>,
    made: &mut Made,
) -> Result<()> {
    let asked = Asked::read(document, false)?;
    let pod = find(update, Kind::Pod, &asked.pod_id)?;
    asked.is_of(&update.pod(pod.serial)?.name)?;
    let image = image(update, &asked)?;
    let object = create(update, world, &asked, &image, (pod.serial, false), made)?;
    made.objects.push(object);
    Ok(())
}

/// An image that was asked for: what found it, and the name that metadata has for it.
struct Image {
    found: Found,
    by: String,
    name: String,
}

/// Looks for an image by its name, then by its ID. Nothing is pulled: one that is not there is refused.
fn image(update: &Update<'_>, asked: &Asked) -> Result<Image> {
    // Images have names of one transport here.
    let name = asked.image_name.strip_prefix("docker://").unwrap_or(&asked.image_name);
    let by_name = match find(update, Kind::Image, name) {
        Err(Error::Refused(Refusal::NoSuch { .. })) if !asked.image_id.is_empty() => None,
        found => Some((found?, name)),
    };
    let (found, by) = match by_name {
        Some((found, name)) => (found, name.to_owned()),
        None => (find(update, Kind::Image, &asked.image_id)?, asked.image_id.clone()),
    };
    let name = match asked.image_name.as_str() {
        "" => update.tags_of(found.serial)?.into_iter().next().map_or_else(String::new, |(name, _)| name),
        name => name.to_owned(),
    };
    Ok(Image { found, by, name })
}

fn create(
    update: &Update<'_>,
    world: &World,
    asked: &Asked,
    image: &Image,
    (pod, infra): (Serial, bool),
    made: &mut Made,
) -> Result<(Kind, Serial, [u8; 32])> {
    let pod_id = update.id_of(Kind::Pod, pod)?.ok_or(Refusal::Gone)?;
    let created_at = (world.now)().nanos / 1_000_000_000;
    let metadata = asked.metadata(pod_id, image.found.id, &image.name, created_at);
    let id = asked.id.map(|id| ("id", id.to_string()));
    let (name, image) = (asked.name.to_string(), image.by.clone());
    let identity = id.into_iter().chain([("name", name), ("pod", pod_id.to_string()), ("image", image)]);
    let mut config: Map<String, Value> = identity.map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    config.extend(asked.config.clone());
    create_ctr(update, world, config, Beside { pod: Some(pod), metadata: Some(metadata), infra }, made)
}

impl View {
    /// Puts the label that a container's metadata has for its mounts in the place of its config's.
    pub(super) fn label(&self, ctr: Serial, config: &mut Map<String, Value>) -> Result<()> {
        let metadata = self.snapshot().doc(ctr, Doc::Metadata)?;
        if let Some(label) = metadata.and_then(|metadata| mount_label(&metadata)) {
            config.insert("MountLabel".to_owned(), Value::from(label));
        }
        Ok(())
    }
}
