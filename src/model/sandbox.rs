//! Pod sandboxes and the containers in them, as CRI-O's RuntimeServer makes them: what a document asks
//! for, what must be in it, and the text that is kept as the container's metadata.
//!
//! A sandbox is a pod and its infra container, which carries the pod's ID.

use serde::Serialize;

use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::{Map, Value, parse};
use crate::model::keys::{CTR_CONFIG, Type, check, text};
use crate::model::name::Name;

/// The keys that a sandbox or a container in one is asked for by.
pub const KEYS: &[(&str, Type)] = &[
    (POD_NAME, Type::Text),
    (POD_ID, Type::Text),
    (IMAGE_NAME, Type::Text),
    (IMAGE_ID, Type::Text),
    (CTR_NAME, Type::Text),
    (CTR_ID, Type::Text),
    (METADATA_NAME, Type::Text),
    (UID, Type::Text),
    (NAMESPACE, Type::Text),
    (ATTEMPT, Type::Count),
    (MOUNT_LABEL, Type::Text),
];
const POD_NAME: &str = "podName";
const POD_ID: &str = "podID";
const IMAGE_NAME: &str = "imageName";
const IMAGE_ID: &str = "imageID";
const CTR_NAME: &str = "containerName";
const CTR_ID: &str = "containerID";
const METADATA_NAME: &str = "metadataName";
const UID: &str = "uid";
const NAMESPACE: &str = "namespace";
const ATTEMPT: &str = "attempt";
const MOUNT_LABEL: &str = "mountLabel";
/// Those of them that tell a container of a sandbox from one of libpod's.
const TELLING: [&str; 7] = [POD_NAME, POD_ID, IMAGE_NAME, IMAGE_ID, CTR_NAME, CTR_ID, METADATA_NAME];
/// Keys of a config for which there are others here.
const OTHERWISE: [&str; 7] = ["id", "name", "pod", "image", "rootfsImageID", "rootfsImageName", "rootfs"];

/// What a document asks for. Absent keys are "", or 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The pod's name.
    pub pod_name: String,
    /// The pod: of a sandbox the ID that it gets.
    pub pod_id: String,
    /// The image, looked for first.
    pub image_name: String,
    /// The image, looked for second.
    pub image_id: String,
    /// The container's name.
    pub name: Name,
    /// The container's ID.
    pub id: Option<Id>,
    metadata_name: String,
    uid: String,
    namespace: String,
    attempt: u32,
    mount_label: String,
    /// The keys of the container's config beside these.
    pub config: Map<String, Value>,
}

/// Whether a document for a container is about one in a sandbox.
pub fn asks(document: &Map<String, Value>) -> bool {
    TELLING.iter().any(|key| document.contains_key(*key))
}

impl Asked {
    /// What a document asks for, be it a sandbox or a container in one. The keys are checked in CRI-O's
    /// order.
    ///
    /// # Errors
    /// [`Refusal::BadKey`] for the first key that is missing or cannot have its value, [`Refusal::BadName`]
    /// for the container's name.
    pub fn read(document: &Map<String, Value>, is_sandbox: bool) -> Result<Asked, Refusal> {
        check(KEYS, document)?;
        let attempt = match document.get(ATTEMPT).and_then(Value::as_u64).map(u32::try_from) {
            Some(attempt) => attempt.map_err(|_| bad(ATTEMPT, "an integer from 0 to 4294967295"))?,
            None => 0,
        };
        let owned = |key| text(document, key).unwrap_or_default().to_owned();
        let due = |key, rule| text(document, key).map(str::to_owned).ok_or_else(|| bad(key, rule));
        let pod_name = due(POD_NAME, "the pod's name, which must be there")?;
        let pod_id = due(POD_ID, "the pod's ID, which must be there")?;
        if text(document, IMAGE_NAME).or(text(document, IMAGE_ID)).is_none() {
            return Err(bad(IMAGE_NAME, "the image's name, unless imageID has its ID"));
        }
        let name = due(CTR_NAME, "the container's name, which must be there")?;
        let metadata_name = text(document, METADATA_NAME).unwrap_or(&name).to_owned();
        let id = match text(document, CTR_ID) {
            Some(id) if is_sandbox && id != pod_id => {
                return Err(bad(CTR_ID, "nothing but the podID, for a sandbox's container carries that"));
            }
            Some(id) => Some(parse_id(CTR_ID, id)?),
            None => None,
        };
        if !is_sandbox && let Some(key) = [UID, NAMESPACE].into_iter().find(|key| text(document, key).is_some()) {
            return Err(bad(key, "nothing, for only a sandbox has it"));
        }
        if let Some(key) = OTHERWISE.into_iter().find(|key| text(document, key).is_some()) {
            return Err(bad(key, "nothing beside podID, containerID, containerName and imageName"));
        }
        let asked = Asked {
            pod_name,
            pod_id,
            image_name: owned(IMAGE_NAME),
            image_id: owned(IMAGE_ID),
            name: Name::parse(&name)?,
            id,
            metadata_name,
            uid: owned(UID),
            namespace: owned(NAMESPACE),
            attempt,
            mount_label: owned(MOUNT_LABEL),
            config: rest(document),
        };
        check(CTR_CONFIG, &asked.config)?;
        Ok(asked)
    }

    /// The ID and the name that a new sandbox's pod gets.
    ///
    /// # Errors
    /// [`Refusal::BadKey`] and [`Refusal::BadName`] when they are none.
    pub fn pod(&self) -> Result<(Id, Name), Refusal> {
        Ok((parse_id(POD_ID, &self.pod_id)?, Name::parse(&self.pod_name)?))
    }

    /// Whether the pod that was found is the one that is named.
    ///
    /// # Errors
    /// [`Refusal::BadKey`].
    pub fn is_of(&self, pod_name: &str) -> Result<(), Refusal> {
        match self.pod_name == pod_name {
            true => Ok(()),
            false => Err(bad(POD_NAME, "the name of the pod that podID means")),
        }
    }

    /// The container's metadata: what CRI-O has Go write for its RuntimeContainerMetadata.
    pub fn metadata(&self, pod: Id, image: Id, image_name: &str, created_at: u64) -> String {
        let metadata = Metadata {
            pod: self.id.is_some_and(|id| id == pod),
            pod_name: &self.pod_name,
            pod_id: &pod.to_string(),
            image_name,
            image_id: &image.to_string(),
            name: self.name.as_str(),
            metadata_name: &self.metadata_name,
            uid: &self.uid,
            namespace: &self.namespace,
            attempt: self.attempt,
            created_at,
            mount_label: &self.mount_label,
        };
        let text = serde_json::to_string(&metadata).expect("a value in memory has string keys and no I/O");
        escape_html(&text)
    }
}

/// The label that metadata has for the container's mounts. Text of any other kind has none.
pub fn mount_label(metadata: &[u8]) -> Option<String> {
    match parse(metadata) {
        Ok(Value::Object(metadata)) => text(&metadata, "mountlabel").map(str::to_owned),
        _ => None,
    }
}

/// RuntimeContainerMetadata of CRI-O's storage package.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    pod: bool,
    pod_name: &'a str,
    pod_id: &'a str,
    image_name: &'a str,
    image_id: &'a str,
    name: &'a str,
    metadata_name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    uid: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    attempt: u32,
    created_at: u64,
    #[serde(rename = "mountlabel", skip_serializing_if = "is_zero")]
    mount_label: &'a str,
}

/// Go's omitempty.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What Go's encoding/json escapes beyond serde_json; outside strings JSON has none of it.
fn escape_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped += &format!("\\u{:04x}", u32::from(c)),
            c => escaped.push(c),
        }
    }
    escaped
}

fn rest(document: &Map<String, Value>) -> Map<String, Value> {
    let is_read = |key: &str| OTHERWISE.contains(&key) || KEYS.iter().any(|(known, _)| *known == key);
    document.iter().filter(|(key, _)| !is_read(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn parse_id(key: &str, id: &str) -> Result<Id, Refusal> {
    Id::parse(id).ok_or_else(|| bad(key, "64 lower-case hex digits"))
}

fn bad(key: &str, rule: &'static str) -> Refusal {
    Refusal::BadKey { key: key.to_owned(), rule }
}

#[cfg(test)]
mod tests {
    use super::{Asked, asks, mount_label};
    use crate::model::error::Refusal;
    use crate::model::id::Id;
    use crate::model::json::{Map, Value, parse};

    const ID: Id = Id::from_bytes([0xab; 32]);
    const IMAGE: Id = Id::from_bytes([0x1c; 32]);

    fn object(text: &str) -> Map<String, Value> {
        match parse(text.as_bytes()) {
            Ok(Value::Object(object)) => object,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn written(document: &str, is_sandbox: bool) -> String {
        let mut asked = Asked::read(&object(document), is_sandbox).unwrap();
        asked.id = is_sandbox.then_some(ID);
        asked.metadata(ID, IMAGE, "localhost/pause:1", 1_700_000_000)
    }

    #[test]
    fn metadata_is_as_go_writes_it() {
        let (id, image) = (ID.to_string(), IMAGE.to_string());
        let whole = format!(
            r#"{{"podName":"p","podID":"{id}","imageID":"x","containerName":"p-infra","metadataName":"a<b>&\u2028\u2029\"\\\u0001\n\u007fé",
            "uid":"u","namespace":"kube-system","attempt":7,"mountLabel":"system_u:object_r:t:s0:c1,c2"}}"#
        );
        assert_eq!(
            written(&whole, true),
            format!(
                r#"{{"pod":true,"pod-name":"p","pod-id":"{id}","image-name":"localhost/pause:1","image-id":"{image}","name":"p-infra","metadata-name":"a\u003cb\u003e\u0026\u2028\u2029\"\\\u0001\n{del}é","uid":"u","namespace":"kube-system","attempt":7,"created-at":1700000000,"mountlabel":"system_u:object_r:t:s0:c1,c2"}}"#,
                del = '\u{7f}'
            )
        );
        let least =
            format!(r#"{{"podName":"p","podID":"{id}","imageID":"x","containerName":"c","uid":"","attempt":0}}"#);
        assert_eq!(
            written(&least, false),
            format!(
                r#"{{"pod-name":"p","pod-id":"{id}","image-name":"localhost/pause:1","image-id":"{image}","name":"c","metadata-name":"c","created-at":1700000000}}"#
            )
        );
    }

    #[test]
    fn keys_are_checked_in_order() {
        let id = ID.to_string();
        let mut document = object("{}");
        for (missing, text) in [("podName", "p"), ("podID", id.as_str()), ("imageName", "i"), ("containerName", "c")] {
            match Asked::read(&document, true) {
                Err(Refusal::BadKey { key, .. }) => assert_eq!(key, missing),
                other => panic!("{other:?}"),
            }
            document.insert(missing.to_owned(), text.into());
        }
        assert!(Asked::read(&document, true).is_ok());
        for (key, value) in [
            ("attempt", Value::from(1_u64 << 32)),
            ("attempt", Value::from(-1)),
            ("containerID", Value::from("cd".repeat(32))),
            ("name", Value::from("c")),
            ("podID", Value::from(7)),
        ] {
            let mut document = document.clone();
            document.insert(key.to_owned(), value);
            assert!(
                matches!(Asked::read(&document, true), Err(Refusal::BadKey { key: bad, .. }) if bad == key),
                "{key}"
            );
        }
        document.insert("uid".to_owned(), "u".into());
        assert!(Asked::read(&document, false).is_err());
        document.insert("labels".to_owned(), Value::Object(Map::new()));
        assert_eq!(Asked::read(&document, true).unwrap().config, object(r#"{"labels":{}}"#));
    }

    #[test]
    fn libpods_documents_are_not_meant() {
        assert!(!asks(&object(r#"{"name":"c","namespace":"n","image":"i"}"#)));
        assert!(asks(&object(r#"{"podName":""}"#)));
    }

    #[test]
    fn labels_are_read_from_json_alone() {
        assert_eq!(mount_label(br#"{"mountlabel":"l"}"#), Some("l".to_owned()));
        for none in [&b"{}"[..], b"", b"text", b"[]", br#"{"mountlabel":""}"#] {
            assert_eq!(mount_label(none), None);
        }
    }
}
