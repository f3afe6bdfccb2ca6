//! Where a machine goes: what a login sees of a server, and what of it is meant.
//!
//! ```text
//!  / ── datacenter ┬─ vm ─────── folders, machines
//!                  ├─ host ───── compute resources ┬─ hosts
//!                  │                 │ │           └─ Resources ── resource pools
//!                  ├─ datastore ── datastores ─┘ │
//!                  └─ network ──── networks ─────┘
//! ```
//! Everything is named by its inventory path or by the end of it. What nobody names is the one that there is; of several the choice is
//! the user's.

use super::soap::{Properties, Reference};
use crate::text::{SHOWN, shown};
use formats::{Error, Result};

/// What an object is asked for, by its type.
pub(super) const ASKED: [(&str, &[&str]); 7] = [
    ("Datacenter", &["name", "parent", "vmFolder"]),
    ("Folder", &["name", "parent"]),
    ("ComputeResource", &["name", "parent", "datastore", "network"]),
    ("HostSystem", &["name", "parent", "datastore", "network"]),
    ("ResourcePool", &["name", "parent"]),
    ("Datastore", &["name", "parent"]),
    ("Network", &["name", "parent", "tag"]),
];

/// What a portgroup has that takes cables and no machines.
const UPLINKS: &str = "SYSTEM/DVS.UPLINKPG";

/// Most names in a message.
const NAMES: usize = 12;

/// Where a machine is to be; what is not said is found.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// A datacenter.
    pub datacenter: Option<String>,
    /// A folder of machines.
    pub folder: Option<String>,
    /// A resource pool, or a cluster or host for its own.
    pub pool: Option<String>,
    /// A host.
    pub host: Option<String>,
    /// A datastore.
    pub datastore: Option<String>,
    /// A network.
    pub network: Option<String>,
}

/// Where it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) folder: Reference,
    /// The inventory path of that.
    pub(super) path: String,
    pub(super) pool: Reference,
    pub(super) host: Option<Reference>,
    pub(super) datastore: Reference,
    pub(super) network: Reference,
}

/// An object, as far as it matters for where something goes.
#[derive(Clone, Debug)]
struct Entity {
    at: Reference,
    name: String,
    parent: Option<Reference>,
    vm_folder: Option<Reference>,
    datastores: Vec<Reference>,
    networks: Vec<Reference>,
    is_uplink: bool,
}

/// Everything that the login sees, without its machines.
#[derive(Debug, Default)]
pub(super) struct Inventory(Vec<Entity>);

/// A kind of things of which one is meant.
#[derive(Clone, Copy)]
struct What {
    name: &'static str,
    option: &'static str,
}

impl Inventory {
    pub(super) fn add(&mut self, at: Reference, properties: &Properties<'_, '_>) {
        self.0.push(Entity {
            at,
            name: properties.text("name").unwrap_or_default().to_owned(),
            parent: properties.get("parent").and_then(Reference::of),
            vm_folder: properties.get("vmFolder").and_then(Reference::of),
            datastores: properties.references("datastore"),
            networks: properties.references("network"),
            is_uplink: properties.get("tag").is_some_and(|tags| tags.descendants().any(|node| node.text() == Some(UPLINKS))),
        });
    }

    /// The place that is meant.
    ///
    /// # Errors
    /// Bad input: something is not there, or is there several times and nobody says which is meant.
    pub(super) fn place(&self, wanted: &Places) -> Result<Place> {
        let what = |name, option| What { name, option };
        let center = self.one(what("datacenter", "--datacenter"), self.of(&["Datacenter"]), wanted.datacenter.as_deref())?;
        let inside = |kinds: &[&str]| self.of(kinds).into_iter().filter(|entity| self.is_below(entity, &center.at)).collect::<Vec<_>>();

        let hosts = inside(&["HostSystem"]);
        let host = wanted.host.as_deref().map(|name| self.one(what("host", "--host"), hosts, Some(name))).transpose()?;
        let pools = inside(&["ResourcePool", "VirtualApp"]);
        let pool = self.pool(pools, host, wanted.pool.as_deref())?;

        // What machines of that pool can reach; with a host, what it can.
        let computes = self.above(pool).find(|entity| entity.at.kind.ends_with("ComputeResource"));
        let reaches = host.or(computes);
        let reached = |kinds: &[&str], of: fn(&Entity) -> &[Reference]| {
            let all = inside(kinds);
            all.into_iter().filter(|entity| reaches.is_none_or(|reaches| of(reaches).contains(&entity.at))).collect::<Vec<_>>()
        };
        let datastores = reached(&["Datastore"], |entity| &entity.datastores);
        let datastore = self.one(what("datastore", "--datastore"), datastores, wanted.datastore.as_deref())?;
        let mut networks = reached(&["Network", "DistributedVirtualPortgroup", "OpaqueNetwork"], |entity| &entity.networks);
        networks.retain(|network| !network.is_uplink);
        let network = self.one(what("network", "--network"), networks, wanted.network.as_deref())?;

        let top = center.vm_folder.as_ref().and_then(|folder| self.get(folder));
        let top = top.ok_or_else(|| Error::bad_input(format!("the login sees no folder of machines in {}", self.path(center))))?;
        let folder = match wanted.folder.as_deref() {
            None => top,
            Some(name) => {
                let mut folders = inside(&["Folder"]);
                folders.retain(|folder| self.is_below(folder, &top.at));
                self.one(what("folder", "--folder"), folders, Some(name))?
            }
        };
        Ok(Place {
            folder: folder.at.clone(),
            path: self.path(folder),
            pool: pool.at.clone(),
            host: host.map(|host| host.at.clone()),
            datastore: datastore.at.clone(),
            network: network.at.clone(),
        })
    }

    /// The pool that is meant, by its own name or by that of the cluster or host whose whole it is.
    fn pool<'a>(&'a self, mut pools: Vec<&'a Entity>, host: Option<&Entity>, wanted: Option<&str>) -> Result<&'a Entity> {
        let what = What { name: "resource pool", option: "--resource-pool" };
        let owner = |pool: &Entity| pool.parent.as_ref().and_then(|parent| self.get(parent));
        let is_whole = |pool: &&Entity| owner(pool).is_some_and(|owner| owner.at.kind.ends_with("ComputeResource"));
        if let Some(cluster) = host.and_then(|host| host.parent.as_ref()) {
            pools.retain(|pool| self.is_below(pool, cluster));
        }
        let Some(name) = wanted else {
            pools.retain(is_whole);
            return self.one(what, pools, None);
        };
        let of_owner = |pool: &&Entity| is_whole(pool) && owner(pool).is_some_and(|owner| self.is_called(owner, name));
        match pools.iter().copied().filter(of_owner).collect::<Vec<_>>().as_slice() {
            [one] => Ok(one),
            _ => self.one(what, pools, Some(name)),
        }
    }

    /// The one of these that is meant.
    fn one<'a>(&'a self, what: What, all: Vec<&'a Entity>, wanted: Option<&str>) -> Result<&'a Entity> {
        let What { name, option } = what;
        let found: Vec<_> = all.iter().copied().filter(|entity| wanted.is_none_or(|wanted| self.is_called(entity, wanted))).collect();
        let hint = format!("choose with {option} NAME, by its inventory path or the end of it, or GOVC_{}", variable(option));
        let wanted = wanted.map(|wanted| shown(wanted, SHOWN));
        let what = match (found.as_slice(), wanted) {
            ([one], _) => return Ok(one),
            ([], None) => return Err(Error::bad_input(format!("the login sees no {name}"))),
            ([], Some(wanted)) if all.is_empty() => format!("there is no {name} '{wanted}', nor any other that the login sees there"),
            ([], Some(wanted)) => format!("there is no {name} '{wanted}', but {}", self.names(&all)),
            (several, None) => format!("there are {} {name}s, must be one: {}", several.len(), self.names(several)),
            (several, Some(wanted)) => format!("there are {} {name}s '{wanted}', must be one: {}", several.len(), self.names(several)),
        };
        Err(Error::bad_input(what).hint(hint))
    }

    fn names(&self, all: &[&Entity]) -> String {
        let mut names: Vec<_> = all.iter().take(NAMES).map(|entity| shown(&self.path(entity), SHOWN)).collect();
        names.extend((all.len() > NAMES).then(|| "...".to_owned()));
        names.join(", ")
    }

    /// Whether something has this inventory path, or this end of it.
    fn is_called(&self, entity: &Entity, name: &str) -> bool {
        let path = self.path(entity);
        match name.starts_with('/') {
            true => path == name.trim_end_matches('/'),
            false => path.strip_suffix(name).is_some_and(|rest| rest.ends_with('/')),
        }
    }

    /// From the datacenter's folder on; what is above all has no name there.
    fn path(&self, entity: &Entity) -> String {
        let mut names: Vec<_> = [entity].into_iter().chain(self.above(entity)).collect();
        names.retain(|entity| entity.parent.is_some());
        names.iter().rev().map(|entity| format!("/{}", entity.name)).collect()
    }

    fn of(&self, kinds: &[&str]) -> Vec<&Entity> {
        self.0.iter().filter(|entity| kinds.contains(&entity.at.kind.as_str())).collect()
    }

    fn get(&self, at: &Reference) -> Option<&Entity> {
        self.0.iter().find(|entity| entity.at == *at)
    }

    /// What something is in, from the inside out; a circle of a broken server ends.
    fn above<'a>(&'a self, entity: &'a Entity) -> impl Iterator<Item = &'a Entity> {
        std::iter::successors(entity.parent.as_ref().and_then(|parent| self.get(parent)), |entity| self.get(entity.parent.as_ref()?))
            .take(64)
    }

    fn is_below(&self, entity: &Entity, place: &Reference) -> bool {
        self.above(entity).any(|above| above.at == *place)
    }
}

/// The end of the variable that says what an option says.
fn variable(option: &str) -> String {
    option.trim_start_matches('-').replace('-', "_").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects as `TYPE id NAME parent`; compute resources and hosts reach what stands behind.
    fn inventory(lines: &str) -> Inventory {
        let reference = |id: &str| Reference::new(id.split('-').next().unwrap(), id);
        let entity = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let reached = |kind: &str| words[3..].iter().filter(|id| id.starts_with(kind)).map(|id| reference(id)).collect::<Vec<_>>();
            Entity {
                at: reference(words[0]),
                name: words[1].replace('_', " "),
                parent: words.get(2).filter(|id| **id != "-").map(|id| reference(id)),
                vm_folder: words.get(3).filter(|id| id.starts_with("Folder")).map(|id| reference(id)),
                datastores: reached("Datastore"),
                networks: [reached("Network"), reached("Distributed")].concat(),
                is_uplink: words.contains(&"uplink"),
            }
        };
        Inventory(lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(entity).collect())
    }

    const SMALL: &str = "
        Folder-r Datacenters -
        Datacenter-1 DC0 Folder-r Folder-v
        Folder-v vm Datacenter-1
        Folder-h host Datacenter-1
        Folder-s datastore Datacenter-1
        Folder-n network Datacenter-1
        ClusterComputeResource-1 C0 Folder-h Datastore-1 Network-1 DistributedVirtualPortgroup-u
        HostSystem-1 esx1 ClusterComputeResource-1 Datastore-1 Network-1
        ResourcePool-1 Resources ClusterComputeResource-1
        ResourcePool-2 team ResourcePool-1
        Datastore-1 store Folder-s
        Datastore-2 elsewhere Folder-s
        Network-1 VM_Network Folder-n
        DistributedVirtualPortgroup-u up Folder-n uplink";

    const LARGE: &str = "
        Folder-a apps Folder-v
        Folder-b apps Folder-a
        ComputeResource-2 esx2 Folder-h Datastore-1 Datastore-2 Network-1 Network-2
        HostSystem-2 esx2 ComputeResource-2 Datastore-2 Network-2
        ResourcePool-3 Resources ComputeResource-2
        Network-2 other Folder-n";

    fn placed(inventory: &Inventory, wanted: Places) -> String {
        match inventory.place(&wanted) {
            Ok(place) => format!("{} {} {} {}", place.path, place.pool.id, place.datastore.id, place.network.id),
            Err(error) => error.to_string(),
        }
    }

    fn named(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn what_there_is_once_needs_no_name() {
        let small = inventory(SMALL);
        assert_eq!(placed(&small, Places::default()), "/DC0/vm ResourcePool-1 Datastore-1 Network-1");
        let team =
            Places { pool: named("Resources/team"), network: named("VM Network"), host: named("/DC0/host/C0/esx1"), ..Places::default() };
        assert_eq!(placed(&small, team), "/DC0/vm ResourcePool-2 Datastore-1 Network-1");
        let far = Places { datastore: named("elsewhere"), ..Places::default() };
        assert_eq!(placed(&small, far), "there is no datastore 'elsewhere', but /DC0/datastore/store");
    }

    #[test]
    fn of_several_the_choice_is_the_users() {
        let large = inventory(&format!("{SMALL}{LARGE}"));
        let error = large.place(&Places::default()).unwrap_err();
        assert_eq!(error.to_string(), "there are 2 resource pools, must be one: /DC0/host/C0/Resources, /DC0/host/esx2/Resources");
        assert!(error.hint_text().unwrap().ends_with("GOVC_RESOURCE_POOL"));
        let esx2 = || Places { pool: named("esx2"), ..Places::default() };
        assert_eq!(placed(&large, esx2()), "there are 2 datastores, must be one: /DC0/datastore/store, /DC0/datastore/elsewhere");
        let by_host = Places { host: named("esx2"), ..Places::default() };
        assert_eq!(placed(&large, by_host), "/DC0/vm ResourcePool-3 Datastore-2 Network-2");
        let chosen = Places { datastore: named("store"), network: named("other"), folder: named("vm/apps"), ..esx2() };
        assert_eq!(placed(&large, chosen), "/DC0/vm/apps ResourcePool-3 Datastore-1 Network-2");
        let twice = Places { host: named("esx2"), folder: named("apps"), ..Places::default() };
        assert_eq!(placed(&large, twice), "there are 2 folders 'apps', must be one: /DC0/vm/apps, /DC0/vm/apps/apps");
        assert_eq!(placed(&large, Places { datacenter: named("C0"), ..Places::default() }), "there is no datacenter 'C0', but /DC0");
        assert_eq!(placed(&Inventory::default(), Places::default()), "the login sees no datacenter");
    }

    #[test]
    fn a_circle_ends() {
        let circle = inventory("Datacenter-1 a Folder-1 Folder-2\nFolder-1 b Folder-2\nFolder-2 c Folder-1");
        assert!(circle.place(&Places::default()).is_err());
    }
}
