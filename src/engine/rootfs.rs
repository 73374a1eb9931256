//! What a container's rootfs is made of: an image below a layer of its own, or a plain directory.

use super::Result;
use super::find::find;
use super::images::{put_layer, take_layer, touch_list, touch_users};
use crate::model::container::{self, IMAGE, IMAGE_ID, IMAGE_NAME, ROOTFS, ROOTFS_OVERLAY};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::image_name::ImageName;
use crate::model::json::{Map, Value};
use crate::model::keys::{is_set, text};
use crate::model::record::{Change, CtrHead, Kind, LayerHead, List, Nanos, Rootfs, Serial};
use crate::model::status::Status;
use crate::store::{Contents, Query, StoreError, Update};

/// What a config asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    None,
    Image(Serial),
    Directory,
}

/// Puts libpod's two keys in the place of `image`, and says what the config asks for. An image ID that
/// the store does not know is kept as text: whoever keeps it there keeps the image elsewhere. So is one
/// that stands as it did in the `old` config, unless the container `has` an image: nobody asks for it.
///
/// # Errors
/// An image that there is not; more than one rootfs.
pub(super) fn resolve(
    update: &Update<'_>,
    old: &Map<String, Value>,
    has: Rootfs,
    config: &mut Map<String, Value>,
) -> Result<Wanted> {
    if has.image().is_some() {
        container::keep_image(old, config)?;
    }
    let asked = config.shift_remove(IMAGE).and_then(|value| value.as_str().map(str::to_owned));
    let asked = asked.filter(|asked| !asked.is_empty());
    if let Some(asked) = &asked {
        name_image(update, asked, has, config)?;
    }
    let is_news = asked.is_some() || has.image().is_some() || text(config, IMAGE_ID) != text(old, IMAGE_ID);
    let image = match text(config, IMAGE_ID).and_then(Id::parse).filter(|_| is_news) {
        Some(id) => update.content(Kind::Image, &id)?,
        None => None,
    };
    let directory = text(config, ROOTFS);
    if directory.is_some_and(|path| !path.starts_with('/')) {
        return Err(Refusal::BadKey { key: ROOTFS.to_owned(), rule: "an absolute path" }.into());
    }
    match (image, directory) {
        (Some(_), Some(_)) => {
            Err(Refusal::BadKey { key: ROOTFS.to_owned(), rule: "a directory, where there is no image" }.into())
        }
        (Some(image), None) => Ok(Wanted::Image(image)),
        (None, Some(_)) => Ok(Wanted::Directory),
        (None, None) => Ok(Wanted::None),
    }
}

/// Puts the ID and the name of the image that is asked for in the config; the ones that a container has
/// stay.
fn name_image(update: &Update<'_>, asked: &str, has: Rootfs, config: &mut Map<String, Value>) -> Result<()> {
    let found = find(update, Kind::Image, asked)?;
    let id = found.id.to_string();
    if let Some(image) = has.image() {
        return if image == found.serial { Ok(()) } else { Err(Refusal::FixedKey { key: IMAGE }.into()) };
    }
    if text(config, IMAGE_ID).is_some_and(|other| other != id) {
        return Err(
            Refusal::BadKey { key: IMAGE.to_owned(), rule: "the image of rootfsImageID, or stands alone" }.into()
        );
    }
    let names = update.tags_of(found.serial)?;
    let whole = ImageName::parse(asked).map(|name| name.to_string());
    let name = names.iter().find(|(name, _)| whole.as_ref() == Ok(name)).or(names.first());
    config.insert(IMAGE_ID.to_owned(), Value::from(id));
    match name {
        Some((name, _)) => drop(config.insert(IMAGE_NAME.to_owned(), Value::from(name.as_str()))),
        None => drop(config.shift_remove(IMAGE_NAME)),
    }
    Ok(())
}

/// Whether a container gets another rootfs by this, and may. `was` is its config now, `becomes` the new one.
///
/// # Errors
/// An image stays once it is there; what changes does so while the container is configured and not
/// mounted.
pub(super) fn may_have(
    head: &CtrHead,
    wanted: Wanted,
    was: Option<&Map<String, Value>>,
    becomes: &Map<String, Value>,
) -> Result<bool> {
    let as_it_is = |was| {
        text(was, ROOTFS) == text(becomes, ROOTFS) && is_set(was, ROOTFS_OVERLAY) == is_set(becomes, ROOTFS_OVERLAY)
    };
    let same = match (head.rootfs, wanted) {
        (Rootfs::None, Wanted::None) => true,
        (Rootfs::Directory, Wanted::Directory) => !head.mounted || was.is_some_and(as_it_is),
        (Rootfs::Image { image, .. }, Wanted::Image(other)) if image == other => true,
        (Rootfs::Image { .. }, _) => return Err(Refusal::FixedKey { key: IMAGE }.into()),
        _ => false,
    };
    if same {
        return Ok(false);
    }
    if head.mounted {
        return Err(Refusal::Mounted { name: head.name.clone() }.into());
    }
    // libpod's setupStorage: ErrCtrStateInvalid.
    if head.status != Status::Configured && matches!(wanted, Wanted::Image(_)) {
        return Err(Refusal::NotConfigured { name: head.name.clone(), status: head.status.word() }.into());
    }
    Ok(true)
}

/// Gives a container the rootfs that it may have; an image's comes with a layer of the container's own.
/// The head is the caller's to write.
pub(super) fn give(
    update: &Update<'_>,
    head: &mut CtrHead,
    ctr: Serial,
    wanted: Wanted,
    now: Nanos,
    changes: &mut Vec<Change>,
) -> Result<()> {
    head.rootfs = match wanted {
        Wanted::None => Rootfs::None,
        Wanted::Directory => Rootfs::Directory,
        Wanted::Image(image) if head.rootfs.image() == Some(image) => return Ok(()),
        Wanted::Image(image) => {
            if update.content(Kind::Layer, &head.id())?.is_some() {
                return Err(Refusal::IdTaken { id: head.id(), by: Kind::Layer }.into());
            }
            let parent = update.layers_of(image)?.last().map(|(_, layer)| *layer);
            let own = LayerHead {
                id: head.id,
                parent,
                owner: Some(ctr),
                diff_id: None,
                made: now,
                children_changed: now,
                users_changed: now,
                size: 0,
                disk: 0,
                entries: 0,
            };
            let layer = put_layer(update, own, now, changes)?;
            update.set_user(image, ctr, true)?;
            touch_users(update, Kind::Image, image, now, changes)?;
            touch_list(update, List::Layer, now, changes)?;
            Rootfs::Image { image, layer }
        }
    };
    Ok(())
}

/// Whether a layer with a container's ID is that container's. One whose row is damaged is, unless an
/// image has it.
fn is_own(update: &Update<'_>, layer: Serial, ctr: Serial) -> Result<bool> {
    match update.layer(layer) {
        Ok(head) => Ok(head.owner == Some(ctr)),
        Err(StoreError::Row { .. }) => Ok(update.images_with(layer)?.is_empty()),
        Err(error) => Err(error.into()),
    }
}

/// Takes from a container that goes what its rootfs was made of. Of one whose row is damaged, that is
/// searched for.
pub(super) fn release(update: &Update<'_>, id: Id, ctr: Serial, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    let head = update.ctr(ctr).ok();
    let images = match &head {
        Some(head) => head.rootfs.image().into_iter().collect(),
        None => update.images_used_by(ctr)?,
    };
    for image in images {
        update.set_user(image, ctr, false)?;
        touch_users(update, Kind::Image, image, now, changes)?;
    }
    if head.as_ref().is_none_or(|head| head.rootfs.image().is_some())
        && let Some(own) = update.content(Kind::Layer, &id)?
        && is_own(update, own, ctr)?
    {
        take_layer(update, own, now, changes)?;
        touch_list(update, List::Layer, now, changes)?;
    }
    if head.is_none_or(|head| head.mounted) {
        update.set_mounted(ctr, false)?;
    }
    Ok(())
}

/// Notes that a container has another name, and so has its own layer.
pub(super) fn renamed(update: &Update<'_>, rootfs: Rootfs, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    match rootfs {
        Rootfs::Image { layer, .. } => touch_users(update, Kind::Layer, layer, now, changes),
        Rootfs::None | Rootfs::Directory => Ok(()),
    }
}
