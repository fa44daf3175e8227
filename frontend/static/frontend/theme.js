// Light or dark: the system's choice until the button says otherwise. A cookie keeps it, so that
// the server writes it into the page and nothing flashes.
const button = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");

function present() {
  return document.documentElement.dataset.theme || (system.matches ? "dark" : "light");
}

if (button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = present() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
    document.dispatchEvent(new Event("propius:theme"));
  });
}
system.addEventListener("change", () => document.dispatchEvent(new Event("propius:theme")));

// A choice that is sent at once needs no button, unless there is no script.
for (const select of document.querySelectorAll("[data-submit]")) {
  select.form.querySelector("button").hidden = true;
  select.addEventListener("change", () => select.form.requestSubmit());
}
