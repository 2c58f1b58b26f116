import requests
import json

api_url = "http://<IP>:<PORT>/api/"
access_token = 'BLABLALBA'

def logout():
    send_logout = requests.post(url=api_url + 'logout', data={"access_token": access_token})
    answer_logout = json.loads(send_logout.text)
    if answer_logout['status'] == 'success':
        print("Logout " + api_url)
    else:
        print("Error: " + answer_logout['error'])
