//! What `docker save` and `podman save` write: a tar file with a list of images, their configs and
//! their layers. Since its release 25 docker writes an OCI layout into the same file.

use std::io::Read;

use serde::Deserialize;

use super::error::ImageError;
use super::files::{Files, Section};
use super::layout::{self, is_called};
use super::manifest::{self, Coding, Described};
use super::platform::Platform;
use super::{Content, Documents, Image, Layer};
use crate::driver::hash::Hasher;
use crate::model::digest::Digest;

/// The list of images.
const LIST: &str = "manifest.json";

/// An image in the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Item {
    fn names(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
}

/// Opens an image of such an archive.
pub(super) fn open(files: &Files, name: Option<&str>, platform: Option<&Platform>) -> Result<Image, ImageError> {
    if files.find(layout::MARK)?.is_some() {
        return layout::open(files, name, platform);
    }
    let mut list: Vec<Item> = manifest::parse(&files.document(LIST)?, LIST)?;
    let item = list.swap_remove(select(files.place(), &list, name)?);
    let what = format!("config {}", item.config);
    let config = files.document(&item.config)?;
    if let Some(claimed) = named_digest(&item.config) {
        manifest::verify(&config, &what, claimed, None)?;
    }
    let diff_ids = manifest::diff_ids(&config, &what, platform)?;
    let paths = item.layers.as_deref().unwrap_or_default();
    if diff_ids.len() != paths.len() {
        return Err(ImageError::LayerCount { manifest: paths.len(), config: diff_ids.len() });
    }
    let (mut layers, mut described) = (Vec::new(), Vec::new());
    for (path, diff_id) in paths.iter().zip(diff_ids) {
        let section = files.get(path)?;
        let layer = describe(section.clone(), path, diff_id)?;
        let claim = (layer.coding != Coding::Plain).then_some((layer.digest, layer.size));
        layers.push(Layer { diff_id: Some(diff_id), content: Content::Blob { section, claim } });
        described.push(layer);
    }
    let manifest = manifest::write_manifest(&config, &described);
    Ok(Image { documents: Documents::Given { manifest, config }, names: item.names().to_vec(), layers })
}

/// The place in the list of the image that is called `name`, or is the only one.
fn select(place: &str, list: &[Item], name: Option<&str>) -> Result<usize, ImageError> {
    let fits = |(at, item): &(usize, &Item)| match name {
        None => true,
        Some(name) => format!("@{at}") == name || item.names().iter().any(|tag| is_called(tag, name)),
    };
    let found: Vec<usize> = list.iter().enumerate().filter(fits).map(|(at, _)| at).collect();
    let names = || {
        list.iter().enumerate().flat_map(|(at, item)| match item.names() {
            [] => vec![format!("@{at}")],
            names => names.to_vec(),
        })
    };
    let place = place.to_owned();
    match (&found[..], name) {
        ([only], _) => Ok(*only),
        ([], Some(name)) => Err(ImageError::NoSuch { place, name: name.to_owned(), names: names().collect() }),
        ([], None) => Err(ImageError::Missing { place, file: "image".to_owned() }),
        _ => Err(ImageError::Several { place, names: names().collect() }),
    }
}

/// The digest that a file is named by: `<digest>.json` or `blobs/sha256/<digest>`.
fn named_digest(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next()?;
    Digest::parse(&format!("sha256:{}", name.strip_suffix(".json").unwrap_or(name)))
}

/// What a manifest would say of a layer. A plain tar is its own diff-id, which is checked when it is
/// unpacked; a compressed one must be read for its digest.
fn describe(mut section: Section, path: &str, diff_id: Digest) -> Result<Described, ImageError> {
    let size = section.size();
    let mut begin = Vec::new();
    section.by_ref().take(4).read_to_end(&mut begin).map_err(ImageError::io(path))?;
    let coding = Coding::of(&begin);
    if coding == Coding::Plain {
        return Ok(Described { digest: diff_id, size, coding });
    }
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0; 1 << 20]);
    hasher.update(&begin);
    loop {
        match section.read(&mut buffer).map_err(ImageError::io(path))? {
            0 => return Ok(Described { digest: hasher.finish(), size, coding }),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Item, named_digest, select};
    use crate::driver::image::error::ImageError;

    fn list() -> Vec<Item> {
        let text = r#"[{"Config": "a.json", "RepoTags": ["localhost/a:1", "localhost/a:2"], "Layers": ["a.tar"]},
            {"Config": "b.json", "RepoTags": null, "Layers": null}, {"Config": "c.json", "RepoTags": ["c:latest"]}]"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn images_are_named_or_numbered() {
        let list = list();
        for (name, place) in [("localhost/a:1", 0), ("a:2", 0), ("@1", 1), ("c", 2), ("@2", 2)] {
            assert_eq!(select("p", &list, Some(name)).unwrap(), place, "{name}");
        }
        for result in [select("p", &list, None), select("p", &list, Some("d"))] {
            let (Err(ImageError::Several { names, .. }) | Err(ImageError::NoSuch { names, .. })) = result else {
                panic!("none of these");
            };
            assert_eq!(names, ["localhost/a:1", "localhost/a:2", "@1", "c:latest"]);
        }
        assert_eq!(select("p", &list[2..], None).unwrap(), 0);
        assert!(matches!(select("p", &[], None), Err(ImageError::Missing { .. })));
    }

    #[test]
    fn a_file_s_name_may_be_its_digest() {
        let hex = "ab".repeat(32);
        for path in [format!("{hex}.json"), format!("blobs/sha256/{hex}")] {
            assert_eq!(named_digest(&path).unwrap().to_string(), format!("sha256:{hex}"));
        }
        assert_eq!(named_digest("config.json"), None);
    }
}
