//! An image handed over to the server: `create/image` takes over what lies in a staging directory.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::error::Error;
use super::tree::Tree;
use crate::driver::image::staging::Staging;
use crate::driver::image::{Imported, ImportedLayer};
use crate::sys::process;

/// Makes a staging directory in the store behind a tree, which must be this user's.
pub(super) fn stage(tree: &Tree) -> Result<Staging, Error> {
    let store = tree.store()?;
    let failed = |cause| Error::Directory { dir: store.clone(), cause };
    let owner = fs::metadata(&store).map_err(failed)?.uid();
    if owner != process::owner().0 {
        return Err(Error::OthersStore { store, owner });
    }
    Staging::new(&store).map_err(|cause| Error::Directory { dir: store.join("staging"), cause })
}

/// Has the server take the image over; returns its answer, the image's ID in a line.
pub(super) fn hand_over(
    tree: &Tree,
    what: &str,
    staging: &Staging,
    image: &Imported,
    names: &[String],
) -> Result<String, Error> {
    let mut document = document(image, staging.name(), names).to_string();
    document.push('\n');
    let mut id = String::new();
    tree.ask("create/image", what, document.as_bytes(), &mut id)?;
    Ok(id)
}

/// What `create/image` takes. Only new layers are described.
fn document(image: &Imported, staging: &str, names: &[String]) -> Value {
    let layer = |layer: &ImportedLayer| {
        let mut described = json!({"diff-id": layer.diff_id.to_string()});
        if let Some(held) = layer.new {
            (described["size"], described["disk"]) = (held.size.into(), held.disk.into());
            described["entries"] = held.entries.into();
        }
        if let Some(record) = layer.record {
            described["tree"] = record.to_string().into();
        }
        described
    };
    json!({
        "staging": staging,
        "names": names,
        "manifest": image.manifest,
        "config": image.config,
        "layers": image.layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::document;
    use crate::driver::hash::digest;
    use crate::driver::image::{Figures, Imported, ImportedLayer};

    #[test]
    fn the_document_is_what_the_tree_takes() {
        let layer =
            |new: Option<Figures>| ImportedLayer { diff_id: digest(b""), new, record: new.map(|_| digest(b"")) };
        let image = Imported {
            manifest: "{ }".to_owned(),
            config: "{}\n".to_owned(),
            names: Vec::new(),
            layers: vec![layer(None), layer(Some(Figures { size: 1, disk: 2, entries: 3 }))],
        };
        let digest = digest(b"");
        let text = format!(
            r#"{{"staging":"s","names":["localhost/a:1"],"manifest":"{{ }}","config":"{{}}\n","layers":[{{"diff-id":"{digest}"}},{{"diff-id":"{digest}","size":1,"disk":2,"entries":3,"tree":"{digest}"}}]}}"#
        );
        assert_eq!(document(&image, "s", &["localhost/a:1".to_owned()]).to_string(), text);
    }
}
