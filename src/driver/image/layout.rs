//! OCI image layouts (image-spec, image-layout.md), be it in a directory or in an archive.

use oci_spec::image::{Descriptor, ImageIndex};
use serde::Deserialize;

use super::error::ImageError;
use super::files::{Files, Section, read_document};
use super::manifest::{self, Kind};
use super::platform::Platform;
use super::{Content, Documents, Image, Layer};
use crate::model::digest::Digest;

/// The file that makes a directory a layout.
pub(super) const MARK: &str = "oci-layout";
const INDEX: &str = "index.json";
/// How the images of a layout are called: most often by a tag alone.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same, always whole: docker and containerd write it.
const WHOLE_NAME: &str = "io.containerd.image.name";
/// How deep indexes may be nested: an image for several machines is one in the layout's.
const MAX_DEPTH: usize = 4;

#[derive(Deserialize)]
struct Mark {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

/// Opens an image of a layout.
pub(super) fn open(files: &Files, tag: Option<&str>, platform: Option<&Platform>) -> Result<Image, ImageError> {
    let mark: Mark = manifest::parse(&files.document(MARK)?, MARK)?;
    if !mark.version.starts_with("1.") {
        let rule = format!("a layout of version {}, which is not known", mark.version);
        return Err(ImageError::document(files.place(), rule));
    }
    let index: ImageIndex = manifest::parse(&files.document(INDEX)?, INDEX)?;
    let chosen = select(files.place(), index.manifests(), tag)?;
    let entry = match one_image(&chosen) {
        true => chosen[0],
        false => platform.unwrap_or(&Platform::default()).choose(&chosen)?,
    };
    let mut names: Vec<String> = chosen.iter().filter_map(|entry| whole_name(entry)).collect();
    names.dedup();
    follow(files, entry, names, platform)
}

fn one_image(entries: &[&Descriptor]) -> bool {
    entries.iter().all(|entry| entry.digest() == entries[0].digest())
}

/// The entries of an index that a tag means. Without one there must be one image, or one for each of
/// several machines.
fn select<'a>(place: &str, entries: &'a [Descriptor], tag: Option<&str>) -> Result<Vec<&'a Descriptor>, ImageError> {
    let fits = |entry: &&Descriptor| tag.is_none_or(|tag| names_of(entry).any(|name| is_called(name, tag)));
    let chosen: Vec<&Descriptor> = entries.iter().filter(fits).collect();
    let names = |entries: &[&Descriptor]| -> Vec<String> {
        let name = |entry: &&Descriptor| names_of(entry).next_back().unwrap_or(entry.digest().as_ref()).to_owned();
        entries.iter().map(name).collect()
    };
    let place = place.to_owned();
    let Some(first) = chosen.first() else {
        let all: Vec<&Descriptor> = entries.iter().collect();
        return Err(match tag {
            Some(tag) => ImageError::NoSuch { place, name: tag.to_owned(), names: names(&all) },
            None => ImageError::Missing { place, file: "image".to_owned() },
        });
    };
    let one_name = chosen.iter().all(|entry| names_of(entry).eq(names_of(first)));
    match one_name || one_image(&chosen) {
        true => Ok(chosen),
        false => Err(ImageError::Several { place, names: names(&chosen) }),
    }
}

/// What an entry is called; last, what people call it by.
fn names_of(entry: &Descriptor) -> impl DoubleEndedIterator<Item = &str> {
    let note = |key| entry.annotations().as_ref().and_then(|notes| notes.get(key)).map(String::as_str);
    [note(WHOLE_NAME), note(REF_NAME)].into_iter().flatten()
}

/// The whole name of an entry, if it has one: a tag alone names no repository.
fn whole_name(entry: &Descriptor) -> Option<String> {
    names_of(entry).find(|name| name.contains(['/', ':'])).map(str::to_owned)
}

/// Whether `wanted` is a name, or all that follows a slash in it; `:latest` may be left out.
pub(super) fn is_called(name: &str, wanted: &str) -> bool {
    let ends =
        |whole: &str| whole.strip_suffix(wanted).is_some_and(|before| before.is_empty() || before.ends_with('/'));
    ends(name) || name.strip_suffix(":latest").is_some_and(ends)
}

/// Follows a descriptor through indexes to a manifest, its config and its layers.
fn follow(
    files: &Files,
    entry: &Descriptor,
    names: Vec<String>,
    platform: Option<&Platform>,
) -> Result<Image, ImageError> {
    let mut entry = entry.clone();
    for _ in 0..MAX_DEPTH {
        let bytes = document(files, &entry)?;
        if manifest::kind(&entry)? == Kind::Manifest {
            return image(files, bytes, &entry, names, platform);
        }
        let index: ImageIndex = manifest::parse(&bytes, entry.digest().as_ref())?;
        let entries: Vec<&Descriptor> = index.manifests().iter().collect();
        entry = platform.unwrap_or(&Platform::default()).choose(&entries)?.clone();
    }
    Err(ImageError::document(files.place(), format!("indexes are nested more than {MAX_DEPTH} deep")))
}

fn image(
    files: &Files,
    bytes: Vec<u8>,
    entry: &Descriptor,
    names: Vec<String>,
    platform: Option<&Platform>,
) -> Result<Image, ImageError> {
    let parsed = manifest::parse_manifest(&bytes, &format!("manifest {}", entry.digest()))?;
    let config = document(files, parsed.config())?;
    let diff_ids = manifest::diff_ids(&config, &format!("config {}", parsed.config().digest()), platform)?;
    if diff_ids.len() != parsed.layers().len() {
        return Err(ImageError::LayerCount { manifest: parsed.layers().len(), config: diff_ids.len() });
    }
    let layer = |(descriptor, diff_id)| -> Result<Layer, ImageError> {
        let (section, digest) = blob(files, descriptor)?;
        let claim = Some((digest, descriptor.size()));
        Ok(Layer { diff_id: Some(diff_id), content: Content::Blob { section, claim } })
    };
    let layers = parsed.layers().iter().zip(diff_ids).map(layer).collect::<Result<_, _>>()?;
    Ok(Image { documents: Documents::Given { manifest: bytes, config }, names, layers })
}

/// A document that a descriptor leads to, verified.
fn document(files: &Files, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
    let (section, digest) = blob(files, descriptor)?;
    let what = format!("blob {digest}");
    let bytes = read_document(section, &what)?;
    manifest::verify(&bytes, &what, digest, Some(descriptor.size()))?;
    Ok(bytes)
}

/// A blob that a descriptor leads to; of the descriptor's size, and not yet verified.
fn blob(files: &Files, descriptor: &Descriptor) -> Result<(Section, Digest), ImageError> {
    let digest = manifest::digest_of(descriptor)?;
    let section = files.get(&format!("blobs/sha256/{}", digest.id()))?;
    match section.size() {
        found if found == descriptor.size() => Ok((section, digest)),
        found => Err(ImageError::Size { blob: format!("blob {digest}"), claimed: descriptor.size(), found }),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_called, select, whole_name};
    use crate::driver::image::error::ImageError;
    use oci_spec::image::Descriptor;

    fn entry(digit: char, notes: &str) -> Descriptor {
        let digest = digit.to_string().repeat(64);
        let text =
            format!(r#"{{"mediaType": "m", "digest": "sha256:{digest}", "size": 1, "annotations": {{{notes}}}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn tagged(digit: char, tag: &str) -> Descriptor {
        entry(digit, &format!(r#""org.opencontainers.image.ref.name": "{tag}""#))
    }

    #[test]
    fn a_tag_is_needed_where_there_are_several_images() {
        let entries = [tagged('a', "one"), tagged('b', "two"), tagged('b', "three")];
        let Err(ImageError::Several { names, .. }) = select("p", &entries, None) else { panic!("which one?") };
        assert_eq!(names, ["one", "two", "three"]);
        assert_eq!(select("p", &entries, Some("two")).unwrap(), [&entries[1]]);
        assert_eq!(select("p", &entries[1..], None).unwrap().len(), 2);
        let Err(ImageError::NoSuch { names, .. }) = select("p", &entries, Some("four")) else { panic!("no four") };
        assert_eq!(names, ["one", "two", "three"]);
        assert!(matches!(select("p", &[], None), Err(ImageError::Missing { .. })));
    }

    #[test]
    fn images_of_one_name_are_for_several_machines() {
        let entries = [tagged('a', "one"), tagged('b', "one")];
        assert_eq!(select("p", &entries, None).unwrap().len(), 2);
    }

    #[test]
    fn only_a_whole_name_is_a_name() {
        assert_eq!(whole_name(&tagged('a', "latest")), None);
        assert_eq!(whole_name(&tagged('a', "localhost/a:1")).as_deref(), Some("localhost/a:1"));
        let docker = r#""io.containerd.image.name": "docker.io/library/a:1", "org.opencontainers.image.ref.name": "1""#;
        assert_eq!(whole_name(&entry('a', docker)).as_deref(), Some("docker.io/library/a:1"));
    }

    #[test]
    fn a_name_may_be_cut_at_a_slash() {
        for wanted in ["docker.io/library/a:latest", "library/a", "a", "a:latest"] {
            assert!(is_called("docker.io/library/a:latest", wanted), "{wanted}");
        }
        for wanted in ["latest", "docker.io/library/aa", "library", ":latest", "rary/a"] {
            assert!(!is_called("docker.io/library/a:latest", wanted), "{wanted}");
        }
        assert!(!is_called("a:2", "a"));
    }
}
