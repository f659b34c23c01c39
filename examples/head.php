<?php // How the page of each example begins; the page has set $title. ?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title><?= $title ?> · wsgate</title>
<link rel="icon" href="data:,">
<style>
<?php readfile(__DIR__ . '/style.css') ?>
</style>
<script>
"use strict";
const $ = (id) => document.getElementById(id);

function state(text, word) {
  $("state").textContent = text;
  $("state").dataset.state = word;
}
</script>
