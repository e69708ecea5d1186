"""Tests of rosterd."""
