//! A vCenter (vim25 by SOAP) with one cluster, whose answers are those of the published schema; a lease takes a disk by a URL of its own.

use super::{super::asked::Asked, Has};
use serde_json::json;

type Answer = (&'static str, String, String);

/// What the login sees, as objects of a property collector: type, id, name, parent, more properties.
const SEEN: [(&str, &str, &str, &str, &str); 11] = [
    ("Datacenter", "datacenter-1", "DC0", "Folder:group-d1", "vmFolder=Folder:group-v1"),
    ("Folder", "group-v1", "vm", "Datacenter:datacenter-1", ""),
    ("Folder", "group-v2", "apps", "Folder:group-v1", ""),
    ("Folder", "group-h1", "host", "Datacenter:datacenter-1", ""),
    ("Folder", "group-s1", "datastore", "Datacenter:datacenter-1", ""),
    ("Folder", "group-n1", "network", "Datacenter:datacenter-1", ""),
    ("ClusterComputeResource", "domain-c1", "C0", "Folder:group-h1", "datastore=Datastore:datastore-1 network=Network:network-1"),
    ("ResourcePool", "resgroup-1", "Resources", "ClusterComputeResource:domain-c1", ""),
    ("HostSystem", "host-1", "esx1", "ClusterComputeResource:domain-c1", "datastore=Datastore:datastore-1 network=Network:network-1"),
    ("Datastore", "datastore-1", "store", "Folder:group-s1", ""),
    ("Network", "network-1", "VM Network", "Folder:group-n1", ""),
];

/// The text of the first element of a name.
pub fn between<'a>(text: &'a str, name: &str) -> &'a str {
    let rest = text.split_once(&format!("<{name}>")).or_else(|| text.split_once(&format!("<{name} "))).map_or("", |(_, rest)| rest);
    let inside = rest.split_once(&format!("</{name}>")).map_or("", |(inside, _)| inside);
    if text.contains(&format!("<{name}>")) { inside } else { inside.split_once('>').map_or("", |(_, inside)| inside) }
}

/// The method of a request.
pub fn method(asked: &Asked) -> String {
    asked.body.split_once("<Body><").and_then(|(_, rest)| rest.split([' ', '>']).next()).unwrap_or_default().to_owned()
}

/// Answers; what `fails` names is refused: a method, the state of the `lease`. With `datastores` there are two.
pub(super) fn serve(asked: &Asked, has: &mut Has, port: u16) -> Answer {
    let path = asked.line.split(' ').nth(1).unwrap_or_default();
    if let Some(disk) = path.strip_prefix("/nfc/lease-1/") {
        assert_eq!(asked.header("content-type"), Some("application/x-vnd.vmware-streamVmdk"));
        has.files.insert(disk.to_owned(), asked.bytes.clone());
        return ("200 OK", String::new(), String::new());
    }
    if path != "/sdk" {
        return ("404 Not Found", String::new(), String::new());
    }
    assert_eq!((asked.header("soapaction"), asked.header("content-type")), (Some("urn:vim25/6.5"), Some("text/xml; charset=\"utf-8\"")));
    let (method, body) = (method(asked), asked.body.clone());
    if has.fails == Some(&method) {
        return fault("SystemError", "A general system error occurred");
    }
    let session = format!("vmware_soap_session=\"token-{}\"", has.tokens);
    match method.as_str() {
        "RetrieveServiceContent" => return answered(&method, &format!("<returnval>{CONTENT}</returnval>")),
        "Login" if (between(&body, "userName"), between(&body, "password")) != ("app", "hunter2") => {
            return fault("InvalidLogin", "Cannot complete login due to an incorrect user name or password.");
        }
        "Login" => {
            has.tokens += 1;
            let (status, _, text) = answered(&method, "<returnval><key>x</key></returnval>");
            return (status, format!("Set-Cookie: vmware_soap_session=\"token-{}\"; Path=/; HttpOnly; Secure;\r\n", has.tokens), text);
        }
        _ if asked.header("cookie") != Some(&session) => return fault("NotAuthenticated", "The session is not authenticated."),
        _ => {}
    }
    let machine = || has.images.keys().next().cloned().unwrap_or_default();
    let given = |kind: &str, id: &str| answered(&method, &format!("<returnval type=\"{kind}\">{id}</returnval>"));
    match method.as_str() {
        "CreateContainerView" => given("ContainerView", "session[1]view-1"),
        "RetrievePropertiesEx" if body.contains("type=\"ContainerView\"") => page(&method, has, 0),
        "ContinueRetrievePropertiesEx" if between(&body, "token") == "0" => page(&method, has, 1),
        "RetrievePropertiesEx" => properties(&method, &body, has, port),
        "FindChild" => {
            let name = between(&body, "name");
            match has.images.iter().find(|(_, machine)| machine["name"] == *name) {
                Some((id, _)) => given("VirtualMachine", id),
                None => answered(&method, ""),
            }
        }
        "CreateImportSpec" => {
            let (name, envelope) = (between(&body, "entityName"), between(&body, "ovfDescriptor"));
            let firmware = envelope.split("vmw:key=&quot;firmware&quot; vmw:value=&quot;").nth(1).and_then(|rest| rest.split('&').next());
            let spec = format!("<configSpec><name>{name}</name><firmware>{}</firmware></configSpec>", firmware.unwrap_or_default());
            let warning = "<warning><fault xsi:type=\"OvfHardwareCheck\"/><localizedMessage>Line 1: a remark</localizedMessage></warning>";
            answered(
                &method,
                &format!("<returnval><importSpec xsi:type=\"VirtualMachineImportSpec\">{spec}</importSpec>{warning}</returnval>"),
            )
        }
        "ImportVApp" => {
            let spec = between(&body, "spec");
            let machine = json!({"name": between(spec, "name"), "firmware": between(spec, "firmware"), "template": false, "folder": between(&body, "folder")});
            has.images.insert("vm-1".to_owned(), machine);
            given("HttpNfcLease", "lease-1")
        }
        "HttpNfcLeaseAbort" | "Destroy_Task" => {
            has.images.clear();
            has.files.clear();
            given("Task", "task-1")
        }
        "ReconfigVM_Task" => {
            has.images.get_mut(&machine()).expect("it is there")["firmware"] = json!(between(&body, "firmware"));
            given("Task", "task-1")
        }
        "MarkAsTemplate" => {
            has.images.get_mut(&machine()).expect("it is there")["template"] = json!(true);
            answered(&method, "")
        }
        "HttpNfcLeaseProgress" | "HttpNfcLeaseComplete" | "Logout" => answered(&method, ""),
        other => panic!("{other} is not known here"),
    }
}

const CONTENT: &str = "<rootFolder type=\"Folder\">group-d1</rootFolder><propertyCollector type=\"PropertyCollector\">propertyCollector\
    </propertyCollector><viewManager type=\"ViewManager\">ViewManager</viewManager><sessionManager type=\"SessionManager\">SessionManager\
    </sessionManager><searchIndex type=\"SearchIndex\">SearchIndex</searchIndex><ovfManager type=\"OvfManager\">OvfManager</ovfManager>";

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{body}\
         </soapenv:Body></soapenv:Envelope>"
    )
}

fn answered(method: &str, inside: &str) -> Answer {
    ("200 OK", String::new(), envelope(&format!("<{method}Response xmlns=\"urn:vim25\">{inside}</{method}Response>")))
}

fn fault(name: &str, message: &str) -> Answer {
    let detail = format!("<detail><{name}Fault xmlns=\"urn:vim25\" xsi:type=\"{name}\"/></detail>");
    let body = format!("<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{message}</faultstring>{detail}</soapenv:Fault>");
    ("500 Internal Server Error", String::new(), envelope(&body))
}

/// One property; of `TYPE:id` it is an object, of those in an array.
fn property(name: &str, value: &str) -> String {
    let value = match (value.split_once(':'), name) {
        (Some((kind, id)), "datastore" | "network") => {
            let more =
                if id.ends_with("-2") { "<ManagedObjectReference type=\"Datastore\">datastore-1</ManagedObjectReference>" } else { "" };
            format!(
                "<val xsi:type=\"ArrayOfManagedObjectReference\"><ManagedObjectReference type=\"{kind}\">{id}</ManagedObjectReference>{more}</val>"
            )
        }
        (Some((kind, id)), _) => format!("<val xsi:type=\"ManagedObjectReference\" type=\"{kind}\">{id}</val>"),
        (None, _) => format!("<val xsi:type=\"xsd:string\">{value}</val>"),
    };
    format!("<propSet><name>{name}</name>{value}</propSet>")
}

fn object(kind: &str, id: &str, properties: &[(&str, &str)]) -> String {
    let properties: String = properties.iter().map(|(name, value)| property(name, value)).collect();
    format!("<objects><obj type=\"{kind}\">{id}</obj>{properties}</objects>")
}

/// The inventory, in two pages.
fn page(method: &str, has: &Has, number: usize) -> Answer {
    let of = |(kind, id, name, parent, more): &(&str, &str, &str, &str, &str)| {
        let more = if has.fails == Some("datastores") { more.replace("datastore-1", "datastore-2") } else { (*more).to_owned() };
        let more: Vec<_> = more.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        object(kind, id, &[&[("name", *name), ("parent", *parent)], more.as_slice()].concat())
    };
    let objects: String = SEEN.chunks(6).nth(number).into_iter().flatten().map(of).collect();
    let second = object("Datastore", "datastore-2", &[("name", "slow"), ("parent", "Folder:group-s1")]);
    let (token, more) = if number == 0 { ("<token>0</token>", String::new()) } else { ("", second) };
    answered(method, &format!("<returnval>{token}{objects}{more}</returnval>"))
}

/// Properties of a single object.
fn properties(method: &str, body: &str, has: &Has, port: u16) -> Answer {
    let found = |objects: String| answered(method, &format!("<returnval>{objects}</returnval>"));
    if body.contains("<obj type=\"HttpNfcLease\">") {
        if has.fails == Some("lease") {
            let error = "<propSet><name>error</name><val xsi:type=\"LocalizedMethodFault\"><fault xsi:type=\"NoDiskSpace\"/>\
                <localizedMessage>Insufficient disk space on datastore 'store'.</localizedMessage></val></propSet>";
            return found(format!("<objects><obj type=\"HttpNfcLease\">lease-1</obj>{}{error}</objects>", property("state", "error")));
        }
        let device = format!("<deviceUrl><key>k</key><url>http://*:{port}/nfc/lease-1/disk-0.vmdk</url><disk>true</disk></deviceUrl>");
        let entity = "<entity type=\"VirtualMachine\">vm-1</entity>";
        let info = format!(
            "<propSet><name>info</name><val xsi:type=\"HttpNfcLeaseInfo\">{entity}{device}<leaseTimeout>1</leaseTimeout></val></propSet>"
        );
        return found(format!("<objects><obj type=\"HttpNfcLease\">lease-1</obj>{}{info}</objects>", property("state", "ready")));
    }
    if body.contains("<obj type=\"Task\">") {
        return found(object("Task", "task-1", &[("info.state", "success")]));
    }
    if let Some((id, machine)) = has.images.iter().next().filter(|_| body.contains("<obj type=\"VirtualMachine\">")) {
        let text = |name: &str| machine[name].as_str().expect("a text").to_owned();
        return found(object("VirtualMachine", id, &[("name", &text("name")), ("config.firmware", &text("firmware"))]));
    }
    match body.contains("<obj type=\"Folder\">group-d1</obj>") {
        true => found(object("Folder", "group-d1", &[("name", "Datacenters")])),
        false => fault("ManagedObjectNotFound", "The object has already been deleted."),
    }
}
