/**
 * Times are shown on the reader's clock: the browser's zone goes into a cookie, and the first page
 * of all is asked for once more with it. An address that names a zone keeps it.
 */
export function rememberZone(): void {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone || document.cookie.includes(`tz=${zone}`)) return;
  document.cookie = `tz=${zone}; path=/; max-age=31536000; samesite=strict`;
  const shown = document.body.dataset["zone"];
  const named = new URLSearchParams(location.search).has("tz");
  if (shown && shown !== zone && !named && document.cookie.includes("tz=")) location.reload();
}
