echo "log in:"; ANSWER=$(curl -s -X POST -u "$NAME:$PASSWORD" "$BASE/auth/login"); echo "$ANSWER"
TOKEN=$(echo "$ANSWER" | sed -n 's/.*"token": *"\([0-9a-f-]*\)".*/\1/p')
SHOWN=$(printf '%s:%s' "$NAME" "$TOKEN" | base64 | tr -d '\n')
echo "use the session:"; curl -s -X POST -H "X-Auth-Token: $SHOWN" "$BASE/auth/bump"; echo
echo "log out:"; curl -s -X POST -H "X-Auth-Token: $SHOWN" "$BASE/auth/logout"; echo
echo "refused:"; curl -s -i -X POST -H "X-Auth-Token: $SHOWN" "$BASE/auth/bump" | sed -n '1p;$p'; echo
