//! What a container's rootfs is made of: an image below a layer of its own, or a plain directory.

use super::Result;
use super::find::find;
use super::images::{put_layer, take_layer, touch_list, touch_users};
use crate::model::container::{IMAGE, IMAGE_ID, IMAGE_NAME, ROOTFS};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::{Map, Value};
use crate::model::keys::text;
use crate::model::record::{Change, CtrHead, Kind, LayerHead, List, Nanos, Rootfs, Serial};
use crate::model::status::Status;
use crate::store::{Contents, Query, Update};

/// What a config asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    None,
    Image(Serial),
    Directory,
}

/// Puts libpod's two keys in the place of `image`, and says what the config asks for. An image ID that
/// the store does not know is kept as text: whoever keeps it there keeps the image elsewhere.
///
/// # Errors
/// An image that there is not; more than one rootfs.
pub(super) fn resolve(update: &Update<'_>, config: &mut Map<String, Value>) -> Result<Wanted> {
    if let Some(wanted) = config.shift_remove(IMAGE).and_then(|value| value.as_str().map(str::to_owned))
        && !wanted.is_empty()
    {
        let found = find(update, Kind::Image, &wanted)?;
        let id = found.id.to_string();
        if text(config, IMAGE_ID).is_some_and(|other| other != id) {
            return Err(Refusal::BadKey { key: IMAGE.to_owned(), rule: "the image of rootfsImageID, or stands alone" }
                .into());
        }
        let names = update.tags_of(found.serial)?;
        let name = names.iter().find(|(name, _)| *name == wanted).or(names.first());
        config.insert(IMAGE_ID.to_owned(), Value::from(id));
        if let Some((name, _)) = name {
            config.insert(IMAGE_NAME.to_owned(), Value::from(name.as_str()));
        }
    }
    let image = match text(config, IMAGE_ID).and_then(Id::parse) {
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

/// Whether a container may have this rootfs from now on.
///
/// # Errors
/// An image stays once it is there; what changes does so while the container is configured and not
/// mounted.
pub(super) fn may_have(head: &CtrHead, wanted: Wanted) -> Result<()> {
    let same = match (head.rootfs, wanted) {
        (Rootfs::None, Wanted::None) => true,
        (Rootfs::Directory, Wanted::Directory) => !head.mounted,
        (Rootfs::Image { image, .. }, Wanted::Image(other)) if image == other => true,
        (Rootfs::Image { .. }, _) => return Err(Refusal::FixedKey { key: IMAGE }.into()),
        _ => false,
    };
    if same {
        return Ok(());
    }
    if head.mounted {
        return Err(Refusal::Mounted { name: head.name.clone() }.into());
    }
    // libpod's setupStorage: ErrCtrStateInvalid.
    if head.status != Status::Configured && matches!(wanted, Wanted::Image(_)) {
        return Err(Refusal::NotConfigured { name: head.name.clone(), status: head.status.word() }.into());
    }
    Ok(())
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

/// Takes from a container that goes what its rootfs was made of. Of one whose row is damaged, that is
/// searched for.
pub(super) fn release(
    update: &Update<'_>,
    id: Id,
    ctr: Serial,
    now: Nanos,
    changes: &mut Vec<Change>,
) -> Result<()> {
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
        && update.layer(own)?.owner == Some(ctr)
    {
        take_layer(update, own, now, changes)?;
        touch_list(update, List::Layer, now, changes)?;
    }
    if head.is_none_or(|head| head.mounted) {
        update.set_mounted(ctr, false)?;
    }
    Ok(())
}
