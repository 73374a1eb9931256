//! Containers upon images: the image, the layer of their own, and what is mounted.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::layers::own;
use super::{Entry, Fix, Found, Look, Pairs, Result, Ties, compare, pairs};
use crate::model::finding::Trouble;
use crate::model::record::{Kind, Rootfs, Row, Serial};
use crate::store::query::Query;
use crate::store::tables::{MOUNTED, USERS};

/// Each container upon an image: the image lists it, and its own layer is there. `places` are the layers
/// of images.
pub(super) fn users(state: &impl Query, look: &Look, places: &Ties, found: &mut Found) -> Result<()> {
    let has = pairs(&state.table(USERS)?)?;
    let mut due = Pairs::new();
    for (ctr, head) in look.ctrs() {
        let Rootfs::Image { image, layer } = head.rootfs else { continue };
        if !look.exists(Kind::Image, image) {
            let words = format!("its image, #{image}, is not in the store");
            found.push(Trouble::ContainerImageMissing, look.path(Kind::Ctr, ctr), words, Fix::Remove(Kind::Ctr, ctr));
            continue;
        }
        due.insert((image, ctr), ());
        own_layer(look, (ctr, image, layer), places, found);
    }
    due.extend(
        has.keys()
            .filter(|(image, ctr)| {
                look.exists(Kind::Image, *image) && look.exists(Kind::Ctr, *ctr) && look.is_damaged(*ctr)
            })
            .map(|pair| (*pair, ())),
    );
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(&has, &due, |pair, ()| drops.push(*pair), |pair, ()| puts.push(*pair));
    for (image, ctr) in drops {
        let fix = Fix::drop(Entry::User((image, ctr)));
        found.structure(format!("users {image} {ctr}"), "the container does not say so", fix);
    }
    for (image, ctr) in puts {
        let fix = Fix::put(Entry::User((image, ctr)));
        found.structure(look.path(Kind::Ctr, ctr), "its image does not list it", fix);
    }
    Ok(())
}

/// It follows from the container and its image, so that it is made anew.
fn own_layer(look: &Look, (ctr, image, layer): (Serial, Serial, Serial), places: &Ties, found: &mut Found) {
    let Some(due) = own(look, ctr, image, places) else { return };
    let path = look.path(Kind::Ctr, ctr);
    match (look.row(layer), &due) {
        (Some(Row::Layer(has)), Row::Layer(own)) => {
            if (has.id, has.owner, has.diff_id) != (own.id, own.owner, own.diff_id) {
                let words = format!("it is not its container's: {path} has it");
                found.structure(look.path(Kind::Layer, layer), words, Fix::put_row(layer, due));
            } else if is_whole(look, image, places) && has.parent != own.parent {
                let words = "its own layer does not lie upon its image's";
                found.structure(path, words, Fix::put_row(layer, due));
            }
        }
        (Some(_), _) => {
            found.push(Trouble::LayerMissing, path, "its layer is missing", Fix::Remove(Kind::Ctr, ctr));
        }
        (None, _) if look.is_damaged(layer) => {
            let words = format!("row {layer} does not decode");
            found.structure(look.path(Kind::Layer, layer), words, Fix::put_row(layer, due));
        }
        (None, _) => found.push(Trouble::LayerMissing, path, "its layer is missing", Fix::put_row(layer, due)),
    }
}

/// Whether an image has as many layers as its record says.
fn is_whole(look: &Look, image: Serial, places: &Ties) -> bool {
    let layers = places.range((image, 0)..=(image, u64::MAX)).count();
    look.image(image).is_some_and(|head| head.layers as usize == layers)
}

/// The containers that were asked to be mounted are listed.
pub(super) fn mounted(state: &impl Query, look: &Look, found: &mut Found) -> Result<()> {
    let mut has = BTreeMap::new();
    for entry in state.table(MOUNTED)?.iter()? {
        has.insert(entry?.0.value(), ());
    }
    let is_damaged = |ctr: &Serial| look.exists(Kind::Ctr, *ctr) && look.is_damaged(*ctr);
    let asked = look.ctrs().filter(|(_, head)| head.mounted).map(|(ctr, _)| ctr);
    let due = asked.chain(has.keys().copied().filter(is_damaged)).map(|ctr| (ctr, ())).collect();
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(&has, &due, |ctr, ()| drops.push(*ctr), |ctr, ()| puts.push(*ctr));
    for ctr in drops {
        let fix = Fix::drop(Entry::Mounted(ctr));
        found.structure(format!("mounted {ctr}"), "no container that was asked to be", fix);
    }
    for ctr in puts {
        let fix = Fix::put(Entry::Mounted(ctr));
        found.structure(look.path(Kind::Ctr, ctr), "it was asked to be mounted and is not listed", fix);
    }
    Ok(())
}
