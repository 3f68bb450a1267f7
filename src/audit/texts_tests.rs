//! The texts of the rules, and the page that lists them.

use super::*;

#[test]
fn each_text_is_one_sentence() {
    for rule in all_rules() {
        let means = rule.means;
        assert!(means.ends_with('.') && !means.trim_end_matches('.').contains(". "), "{means}");
        assert!(means.starts_with(|c: char| c.is_ascii_uppercase()), "{means}");
        for text in [rule.change, rule.breaks] {
            assert!(!text.ends_with('.'), "{text}");
        }
        assert!(!means.contains("  ") && !rule.change.contains("  "), "{}", rule.id);
    }
}

#[test]
fn the_page_lists_every_rule() {
    let page = include_str!("../../docs/audit.md");
    for rule in all_rules() {
        let confined = match (rule.scope, rule.confined) {
            (rule::Scope::Any, _) => rule.severity.name(),
            (_, Some(severity)) => severity.name(),
            (_, None) => "-",
        };
        let (id, severity, means) = (rule.id, rule.severity.name(), rule.means);
        let row = format!("\n| {id} | {severity} | {confined} | {means} |\n");
        assert!(page.contains(&row), "{row}");
    }
}
