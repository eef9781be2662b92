//! The reference as a page.

use super::explain::all_codes;
use super::{DOCUMENTS, Entry, Kinds, Presence, Section, Type};

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Trialog: documents</title>\
    <style>body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
    code{background:#f3f3f3;padding:0 .2em}td,th{text-align:left;vertical-align:top;padding:.3em .8em .3em 0;\
    border-bottom:1px solid #ddd}table{border-collapse:collapse}small{color:#555}</style></head><body>\n";

/// All documents with all their fields, as HTML.
pub fn page() -> String {
    let mut html = HEAD.to_owned();
    html.push_str(
        "<h1>Documents</h1>\n<p>JSON and YAML alike. <code>trialog explain sweep.limits</code> says the same \
        of a part. Schemas for editors:",
    );
    for (name, _) in DOCUMENTS {
        html.push_str(&format!(" <a href=\"/schemas/{name}.json\">{name}</a>"));
    }
    html.push_str(".</p>\n");
    for (name, section) in DOCUMENTS {
        write_section(&mut html, name, section);
    }
    html.push_str("</body></html>\n");
    html
}

fn write_section(html: &mut String, path: &str, section: &Section) {
    let level = 2 + path.matches('.').count().min(3);
    html.push_str(&format!(
        "<h{level} id=\"{path}\"><code>{path}</code></h{level}>\n<p>{}</p>\n",
        escaped(section.meaning)
    ));
    if section.fields.is_empty() {
        return;
    }
    html.push_str("<table><tr><th>field<th>value<th>meaning\n");
    section.fields.iter().for_each(|entry| write_row(html, path, entry));
    html.push_str("</table>\n");
    for entry in section.fields {
        write_below(html, &format!("{path}.{}", entry.name), &entry.of);
    }
}

fn write_row(html: &mut String, path: &str, entry: &Entry) {
    let presence = match entry.presence {
        Presence::Required => "<br><b>required</b>".to_owned(),
        Presence::Optional => String::new(),
        Presence::Default(value) => format!("<br>default <code>{}</code>", escaped(value)),
        Presence::Otherwise(sentence) => format!("<br>absent: {}", escaped(sentence)),
    };
    html.push_str(&format!(
        "<tr><td id=\"{path}.{name}\"><code>{name}</code><td>{of}{presence}<td>{meaning}<br>example \
         <code>{example}</code><br><small>{codes}</small>\n",
        name = entry.name,
        of = escaped(&entry.of.words()),
        meaning = escaped(entry.meaning),
        example = escaped(entry.example),
        codes = all_codes(entry).join(", "),
    ));
}

fn write_below(html: &mut String, path: &str, of: &Type) {
    match of {
        Type::Map(section) => write_section(html, path, section),
        Type::Kinds(kinds) => write_kinds(html, path, kinds),
        Type::List(of) | Type::Named(_, of) => write_below(html, path, of),
        Type::Any(types) => types.iter().for_each(|of| write_below(html, path, of)),
        _ => {}
    }
}

fn write_kinds(html: &mut String, path: &str, kinds: &Kinds) {
    for (name, section) in kinds.kinds {
        write_section(html, &format!("{path}.{name}"), section);
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_every_kind_and_closes_what_it_opens() {
        let page = super::page();
        for id in ["sweep.limits.max_retries", "sweep.early_termination.pbt.quantile", "deployment.request_settings"] {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert_eq!(page.matches("<table>").count(), page.matches("</table>").count());
        assert!(!page.contains("<="), "bounds are escaped");
    }
}
