// Runs before the page is drawn, so that a chosen theme never flashes the other one.
"use strict";
{
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}
